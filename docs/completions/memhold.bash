# bash completion for memhold, generated from the option tables

_memhold() {
    local word=${COMP_WORDS[COMP_CWORD]} option=${COMP_WORDS[COMP_CWORD-1]} list
    # bash makes --name=value three words.
    if [[ $word == = ]]; then
        word=
    elif [[ $option == = ]]; then
        option=${COMP_WORDS[COMP_CWORD-2]}
    fi
    COMPREPLY=()
    if [[ $COMP_CWORD == 1 && $word != -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W 'dump load bench' -- "$word")
        return
    fi
    list=
    if ((COMP_CWORD > 1)); then
        case ${COMP_WORDS[1]} in
        dump) list='--server --force --help' ;;
        load) list='--server --keep --check --help' ;;
        bench) list='--server --protocol --threads --connections --pipeline --multiget --keys --skew --value-size --key-size --sets --touches --incrs --deletes --misses --rate --seconds --trace --tls-ca --tls-unchecked --login --pid --awake --no-fill --json --help' ;;
        esac
    fi
    if [[ $list && $word == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$list" -- "$word")
        return
    elif [[ $list ]]; then
        # Values are files too: dumps, and unix sockets.
        compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$word")
        return
    fi
    case $option in
    -s|--unix-socket|-P|--pidfile|-Y|--auth-file|-e|--memory-file|--config)
        compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$word")
        return
        ;;
    -u|--user)
        mapfile -t COMPREPLY < <(compgen -u -- "$word")
        return
        ;;
    -B|--protocol)
        mapfile -t COMPREPLY < <(compgen -W 'auto ascii binary' -- "$word")
        return
        ;;
    -o|--extended)
        _memhold_extended "$word"
        return
        ;;
    -p|--port|-U|--udp-port|-a|--unix-mask|-l|--listen|-m|--memory-limit|-c|--conn-limit|-f|--slab-growth-factor|-n|--slab-min-size|-D|-t|--threads|-R|--max-reqs-per-event|-b|--listen-backlog|-I|--max-item-size|-N|--napi-ids|--instance)
        :
        return
        ;;
    esac
    list='-p --port -U --udp-port -s --unix-socket -a --unix-mask -A --enable-shutdown -l --listen -d --daemon -r --enable-coredumps -u --user -m --memory-limit -M --disable-evictions -c --conn-limit -k --lock-memory -v --verbose -h --help -i --license -V --version -P --pidfile -f --slab-growth-factor -n --slab-min-size -L --enable-largepages -D -t --threads -R --max-reqs-per-event -C --disable-cas -b --listen-backlog -B --protocol -I --max-item-size -S --enable-sasl -F --disable-flush-all -X --disable-dumping -W --disable-watch -Y --auth-file -e --memory-file -Z --enable-ssl -o --extended -N --napi-ids --config --instance --check-config'
    mapfile -t COMPREPLY < <(compgen -W "$list" -- "$word")
}

# The last of a list that is apart by commas.
_memhold_extended() {
    local done= rest=$1
    if [[ $rest == *,* ]]; then
        done=${rest%,*},
        rest=${rest##*,}
    fi
    compopt -o nospace
    mapfile -t COMPREPLY < <(compgen -P "$done" -W 'maxconns_fast no_maxconns_fast hashpower= tail_repair_time= hash_algorithm= lru_crawler no_lru_crawler lru_crawler_sleep= lru_crawler_tocrawl= read_buf_mem_limit= lru_maintainer no_lru_maintainer hot_lru_pct= warm_lru_pct= hot_max_factor= warm_max_factor= temporary_ttl= idle_timeout= slab_chunk_max= slab_sizes= slab_reassign no_slab_reassign slab_automove= no_slab_automove slab_automove_ratio= slab_automove_window= slab_automove_freeratio= watcher_logbuf_size= worker_logbuf_size= track_sizes no_hashexpand modern no_modern no_chunked_items inline_ascii_resp no_inline_ascii_resp resp_obj_mem_limit sock_cookie_id= memory_file_unfit= keep_memory no_keep_memory drop_privileges no_drop_privileges udp_answer_max= sasl_pwdb= ssl_chain_cert= ssl_key= ssl_verify_mode= ssl_keyformat= ssl_ciphers= ssl_ca_cert= ssl_wbuf_size= ssl_session_cache ssl_kernel_tls ssl_min_version=' -- "$rest")
}

complete -F _memhold memhold memcached
