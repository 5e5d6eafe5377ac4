//! Conversations, by section of the reference. What is expected is the reference's, or was seen on a running memcached.

use super::testing::{Talk, however_cut};
use super::{Next, OUTPUT_PER_TURN};
use crate::settings::Settings;
use crate::store::{Lookup, PIN_BYTES, Value};

/// Says each left side and expects each right side, on one server.
fn talk(exchanges: &[(&str, &str)]) -> Talk {
    let mut talk = Talk::new();
    for (sent, expected) in exchanges {
        assert_eq!(talk.say(sent), *expected, "to {sent:?}");
    }
    talk
}

const FORMAT: &str = "CLIENT_ERROR bad command line format\r\n";

mod framing {
    use super::*;

    #[test]
    fn a_bare_line_feed_ends_a_command_but_not_a_value() {
        talk(&[
            ("version\n", "VERSION 1.6.45\r\n"),
            ("set k 0 0 1\na\r\n", "STORED\r\n"),
            ("set k 0 0 1\r\na\nx", "CLIENT_ERROR bad data chunk\r\n"),
        ]);
    }

    #[test]
    fn lines_of_fewer_than_four_bytes_are_errors() {
        talk(&[("\r\n", FORMAT), ("\n", FORMAT), ("x\r\n", FORMAT), ("mn\n", FORMAT), ("mn\r\n", "MN\r\n")]);
    }

    #[test]
    fn unknown_commands_are_told_so_unless_they_want_no_reply() {
        talk(&[("bogus\r\n", "ERROR\r\n"), ("bogus noreply\r\n", ""), ("  get k\r\n", "ERROR\r\n")]);
    }

    #[test]
    fn an_http_request_closes_but_earlier_replies_are_sent() {
        let mut talk = Talk::new();
        assert_eq!(talk.say("version\r\nGET / HTTP/1.1\r\nversion\r\n"), "VERSION 1.6.45\r\n");
        assert_eq!(talk.ended, Some(Next::Close));
    }

    #[test]
    fn a_line_that_never_ends_closes_but_earlier_replies_are_sent() {
        let mut talk = Talk::new();
        assert_eq!(talk.say(format!("version\r\nset {}", "k".repeat(2044))), "VERSION 1.6.45\r\n");
        assert_eq!(talk.ended, None);
        assert_eq!(talk.say("k"), "");
        assert_eq!(talk.ended, Some(Next::Close));
    }

    #[test]
    fn a_get_line_of_any_length_is_answered_key_by_key() {
        let mut talk = Talk::new();
        talk.say("set k 0 0 1\r\nv\r\n");
        let one = "VALUE k 0 1\r\nv\r\n";
        assert_eq!(talk.say(format!("get{}", " k".repeat(5000))), one.repeat(4999));
        assert_eq!(talk.say(" k nothing"), one.repeat(2));
        assert_eq!(talk.say("\r\n"), "END\r\n");
        assert_eq!(talk.say("version\r\n"), "VERSION 1.6.45\r\n");
    }

    #[test]
    fn a_long_get_line_may_end_in_spaces_or_hold_nothing_else() {
        let mut talk = Talk::new();
        talk.say("set k 0 0 1\r\nv\r\n");
        talk.say(format!("gets k{}", " ".repeat(3000)));
        assert_eq!(talk.say("\r\n"), "END\r\n");
        assert_eq!(talk.say(format!("get {}", " ".repeat(3000))), "");
        assert_eq!(talk.say(" \r\nversion\r\n"), format!("{FORMAT}VERSION 1.6.45\r\n"));
    }

    #[test]
    fn one_long_key_leaves_nothing_but_the_error() {
        let long = "k".repeat(251);
        let mut talk = Talk::new();
        talk.say("set a 0 0 1\r\nv\r\n");
        assert_eq!(
            talk.say(format!("version\r\nget a {long} a\r\nget a\r\n")),
            format!("VERSION 1.6.45\r\n{FORMAT}VALUE a 0 1\r\nv\r\nEND\r\n")
        );
        // In a line that does not fit, the error stands where it is met, and the rest is skipped.
        talk.say(format!("get a{}", " ".repeat(3000)));
        assert_eq!(talk.say(format!("{long} a a a\r\nversion\r\n")), format!("{FORMAT}VERSION 1.6.45\r\n"));
    }

    #[test]
    fn quit_sends_what_is_queued_and_drops_what_follows() {
        let mut talk = Talk::new();
        assert_eq!(talk.say("version\r\nquit\r\nversion\r\n"), "VERSION 1.6.45\r\n");
        assert_eq!(talk.ended, Some(Next::Close));
    }

    #[test]
    fn a_turn_ends_after_eight_times_r_requests() {
        let mut talk = Talk::with(Settings { reqs_per_event: 3, ..Settings::default() });
        assert_eq!(talk.say("version\r\n".repeat(49)), "VERSION 1.6.45\r\n".repeat(49));
        assert_eq!(talk.yields, 2);
        assert_eq!(talk.stat("", "conn_yields"), "2");
        assert_eq!(talk.say(format!("get{}\r\n", " k".repeat(100))), "END\r\n");
        assert_eq!(talk.yields, 3, "and one after twice as many keys, at the end of a batch");
    }

    #[test]
    fn a_turn_ends_by_keys_that_give_no_output() {
        let mut talk = Talk::with(Settings { reqs_per_event: 5, ..Settings::default() });
        let keys_per_turn = 3 * 32;
        assert_eq!(talk.say(format!("get{}\r\n", " k".repeat(10 * keys_per_turn))), "END\r\n");
        assert_eq!(talk.yields, 10);
    }

    #[test]
    fn a_turn_ends_by_bytes_in_the_middle_of_a_key_list() {
        let mut talk = Talk::new();
        let value = "x".repeat(4000);
        talk.say(format!("set k 0 0 4000\r\n{value}\r\n"));
        let one = format!("VALUE k 0 4000\r\n{value}\r\n");
        assert_eq!(talk.say(format!("get{}\r\n", " k".repeat(200))), one.repeat(200) + "END\r\n");
        assert_eq!(talk.yields, 200 * one.len() / OUTPUT_PER_TURN);
    }

    #[test]
    fn replies_do_not_depend_on_how_the_input_is_cut() {
        let long = "k".repeat(251);
        let conversation = format!(
            "set a 1 0 3\r\nabc\r\nget a b a\r\ngets a\r\nset b 0 0 3\r\nabcd\r\nget b\r\n\r\nset {long} 0 0 5\r\nhello\r\n\
             incr a 1\r\nset n 0 0 2 noreply\r\n10\r\nincr n 5\r\nms m 5 c s F7 T30 Oxy k\r\nhello\r\nmg m v t f k O1\r\n\
             append a 0 0 3\r\nxyz\r\nget a n m\r\nmn\r\ndelete n\r\nget {long} a\r\nbogus\r\ncas a 0 0 1 99\r\nz\r\n\
             ms YQ== 2 b I C1 MA\r\nxx\r\nmg YQ== b k v\r\nset a -1 0 3\r\nabc\r\ntouch a 5\r\nverbosity\r\nms m 5 S100 T\r\nhello\r\n\
             mg m !\r\nset big 0 0 20000\r\n{}\r\nget big\r\nset empty 0 0 0\r\n\r\nget empty\r\nquit\r\n",
            "v".repeat(20000)
        );
        let answer = however_cut(&Settings::default(), conversation.as_bytes());
        assert!(answer.ends_with("STORED\r\nVALUE empty 0 0\r\n\r\nEND\r\n"), "{answer}");
    }
}

mod storing {
    use super::*;

    #[test]
    fn each_mode_decides_by_whether_the_key_exists() {
        talk(&[
            ("replace k 0 0 1\r\na\r\n", "NOT_STORED\r\n"),
            ("append k 0 0 1\r\na\r\n", "NOT_STORED\r\n"),
            ("prepend k 0 0 1\r\na\r\n", "NOT_STORED\r\n"),
            ("cas k 0 0 1 1\r\na\r\n", "NOT_FOUND\r\n"),
            ("add k 0 0 1\r\na\r\n", "STORED\r\n"),
            ("add k 0 0 1\r\nb\r\n", "NOT_STORED\r\n"),
            ("replace k 7 0 1\r\nb\r\n", "STORED\r\n"),
            ("append k 9 5 2\r\ncd\r\n", "STORED\r\n"),
            ("prepend k 9 5 2\r\nza\r\n", "STORED\r\n"),
            ("get k\r\n", "VALUE k 7 5\r\nzabcd\r\nEND\r\n"),
        ]);
    }

    #[test]
    fn cas_stores_only_over_what_was_read() {
        let mut talk = talk(&[("set k 0 0 1\r\na\r\n", "STORED\r\n")]);
        let read = talk.say("gets k\r\n");
        let cas: u64 = read.split([' ', '\r']).nth(4).and_then(|word| word.parse().ok()).expect("a cas");
        assert_eq!(talk.say("cas k 0 0 1 0\r\nx\r\n"), "EXISTS\r\n");
        assert_eq!(talk.say(format!("cas k 0 0 1 {}\r\nx\r\n", cas + 1000)), "EXISTS\r\n");
        assert_eq!(talk.say(format!("cas k 0 0 1 {cas}\r\nb\r\n")), "STORED\r\n");
        assert_eq!(talk.say(format!("cas k 0 0 1 {cas}\r\nc\r\n")), "EXISTS\r\n");
        assert_eq!(talk.say("get k\r\n"), "VALUE k 0 1\r\nb\r\nEND\r\n");
        assert_eq!(talk.stat("", "cas_hits"), "1");
        assert_eq!(
            talk.say("ms k 1 MA C1\r\nx\r\nms nothing 1 MA C1\r\nx\r\nms k 1 ME C1\r\nx\r\n"),
            "EX\r\nNS\r\nNS\r\n"
        );
        assert_eq!(talk.stat("", "cas_badval"), "3", "0 counts, other modes do not");
        assert_eq!(talk.stat("", "cas_misses"), "0");
        assert_eq!(talk.stat("", "cmd_set"), "8");
    }

    #[test]
    fn without_cas_every_cas_is_refused_and_gets_shows_0() {
        let mut talk = Talk::with(Settings { cas_enabled: false, ..Settings::default() });
        talk.say("set k 0 0 1\r\na\r\n");
        assert_eq!(talk.say("gets k\r\n"), "VALUE k 0 1 0\r\na\r\nEND\r\n");
        assert_eq!(talk.say("cas k 0 0 1 1\r\nb\r\n"), "EXISTS\r\n");
        assert_eq!(talk.say("append k 0 0 1\r\nb\r\n"), "STORED\r\n");
    }

    #[test]
    fn refused_lines_swallow_their_value_or_not_as_memcached_does() {
        let long = "k".repeat(251);
        talk(&[
            ("set k 0 0\r\n", FORMAT),
            ("set k 0 0 -1\r\n", FORMAT),
            ("set k 0 0 2147483646\r\n", FORMAT),
            (&format!("set {long} 0 0 1\r\na\r\nversion\r\n"), &format!("{FORMAT}VERSION 1.6.45\r\n")),
            ("set k x 0 1\r\na\r\nversion\r\n", &format!("{FORMAT}VERSION 1.6.45\r\n")),
            ("set k 0 x 1\r\na\r\nversion\r\n", &format!("{FORMAT}VERSION 1.6.45\r\n")),
            ("cas k 0 0 1\r\na\r\nversion\r\n", &format!("{FORMAT}VERSION 1.6.45\r\n")),
            ("set k 0 0 1 2 3\r\na\r\n", "STORED\r\n"),
        ]);
    }

    #[test]
    fn a_value_of_another_length_is_a_bad_chunk() {
        let mut talk = talk(&[
            ("set k 0 0 1\r\na\r\n", "STORED\r\n"),
            ("set k 0 0 1\r\nlonger\r\n", "CLIENT_ERROR bad data chunk\r\nERROR\r\n"),
            ("get k\r\n", "VALUE k 0 1\r\na\r\nEND\r\n"),
            ("set k 0 0 1 noreply\r\nxyz", ""),
        ]);
        assert_eq!(talk.stat("", "cmd_set"), "3");
    }

    #[test]
    fn a_value_too_large_removes_the_old_one_for_set_only() {
        let mut talk = Talk::new();
        let huge = "x".repeat(1024 * 1024);
        let refused = "SERVER_ERROR object too large for cache\r\n";
        for (verb, left) in [("add", true), ("replace", true), ("append", true), ("set", false)] {
            talk.say("set k 0 0 1\r\na\r\n");
            assert_eq!(talk.say(format!("{verb} k 0 0 1048576\r\n{huge}\r\n")), refused);
            assert_eq!(talk.say("get k\r\n").starts_with("VALUE"), left, "{verb}");
        }
        talk.say("set k 0 0 1\r\na\r\n");
        assert_eq!(talk.say(format!("ms k 1048576 ME\r\n{huge}\r\nmg k\r\n")), format!("{refused}EN\r\n"));
        assert_eq!(talk.stat("", "store_too_large"), "5");
        assert_eq!(talk.stat("", "cmd_set"), "5");
    }

    #[test]
    fn the_size_limit_is_memcacheds() {
        let mut talk = Talk::new();
        let value = "x".repeat(1_048_516);
        assert_eq!(talk.say(format!("set kk 0 0 1048515\r\n{}\r\n", &value[1..])), "STORED\r\n");
        assert_eq!(
            talk.say(format!("set kk 0 0 1048516\r\n{value}\r\n")),
            "SERVER_ERROR object too large for cache\r\n"
        );
        assert_eq!(
            talk.say(format!("set kk 1 0 1048515\r\n{}\r\n", &value[1..])),
            "SERVER_ERROR object too large for cache\r\n"
        );
    }

    #[test]
    fn what_does_not_fit_when_joined_is_not_stored() {
        let mut talk = Talk::new();
        let half = "x".repeat(600_000);
        assert_eq!(talk.say(format!("set k 0 0 600000\r\n{half}\r\n")), "STORED\r\n");
        // A large value that comes in two parts and is joined in item memory.
        assert_eq!(talk.say(format!("append k 0 0 300000\r\n{}", &half[..100_000])), "");
        assert_eq!(talk.say(format!("{}\r\n", &half[..200_000])), "STORED\r\n");
        assert_eq!(talk.say("mg k s\r\n"), "HD s900000\r\n");
        assert_eq!(talk.say(format!("set k 0 0 600000\r\n{half}\r\n")), "STORED\r\n");
        assert_eq!(talk.say(format!("append k 0 0 600000\r\n{half}\r\n")), "NOT_STORED\r\n");
        assert_eq!(talk.say("append k 0 0 3\r\nabc\r\n"), "STORED\r\n");
        assert_eq!(talk.say("get k\r\n"), format!("VALUE k 0 600003\r\n{half}abc\r\nEND\r\n"));
    }

    #[test]
    fn noreply_hides_every_line_of_a_storage_command() {
        talk(&[
            ("set k 0 0 1 noreply\r\na\r\n", ""),
            ("add k 0 0 1 noreply\r\na\r\n", ""),
            ("set k 0 0 1 noreply\r\nab\r", ""),
            ("get k\r\n", "VALUE k 0 1\r\na\r\nEND\r\n"),
        ]);
    }
}

mod reading {
    use super::*;

    #[test]
    fn keys_are_answered_in_order_and_as_often_as_asked() {
        talk(&[
            ("get\r\n", FORMAT),
            ("set a 1 0 1\r\nA\r\nset b 2 0 1\r\nB\r\n", "STORED\r\nSTORED\r\n"),
            ("get b nothing a b\r\n", "VALUE b 2 1\r\nB\r\nVALUE a 1 1\r\nA\r\nVALUE b 2 1\r\nB\r\nEND\r\n"),
        ]);
    }

    #[test]
    fn gat_returns_the_item_a_last_time_and_counts_as_touch() {
        let mut talk = talk(&[
            ("set a 1 0 1\r\nA\r\n", "STORED\r\n"),
            ("gat 10\r\n", FORMAT),
            ("gat x a\r\n", "CLIENT_ERROR invalid exptime argument\r\n"),
            ("gat 100 a b\r\n", "VALUE a 1 1\r\nA\r\nEND\r\n"),
            ("mg a t\r\n", "HD t100\r\n"),
            ("gat -1 a\r\n", "VALUE a 1 1\r\nA\r\nEND\r\n"),
            ("get a\r\n", "END\r\n"),
        ]);
        for (name, value) in [
            ("cmd_touch", "3"),
            ("touch_hits", "2"),
            ("touch_misses", "1"),
            ("cmd_get", "2"),
            ("get_hits", "1"),
            ("get_misses", "1"),
            ("get_expired", "1"),
        ] {
            assert_eq!(talk.stat("", name), value, "{name}");
        }
    }

    #[test]
    fn items_expire_by_the_second() {
        let mut talk = Talk::new();
        talk.say("set a 0 10 1\r\nA\r\nset b 0 -1 1\r\nB\r\nset c 0 0 1\r\nC\r\n");
        assert_eq!(talk.say("get a b c\r\n"), "VALUE a 0 1\r\nA\r\nVALUE c 0 1\r\nC\r\nEND\r\n");
        talk.wait(9);
        assert_eq!(talk.say("mg a t\r\n"), "HD t1\r\n");
        talk.wait(1);
        assert_eq!(talk.say("get a b c\r\n"), "VALUE c 0 1\r\nC\r\nEND\r\n");
        assert_eq!(talk.say("touch c 5\r\ntouch a 5\r\n"), "TOUCHED\r\nNOT_FOUND\r\n");
        talk.wait(5);
        assert_eq!(talk.say("get c\r\n"), "END\r\n");
    }

    #[test]
    fn flush_all_hides_what_was_stored_before_it_and_nothing_later() {
        let mut talk = Talk::new();
        talk.say("set a 0 0 1\r\nA\r\n");
        assert_eq!(
            talk.say("flush_all\r\nset b 0 0 1\r\nB\r\nget a b\r\n"),
            "OK\r\nSTORED\r\nVALUE b 0 1\r\nB\r\nEND\r\n"
        );
        assert_eq!(talk.stat("", "get_flushed"), "1");
        assert_eq!(talk.say("flush_all 5\r\nget b\r\n"), "OK\r\nVALUE b 0 1\r\nB\r\nEND\r\n");
        talk.wait(2);
        assert_eq!(talk.say("set c 0 0 1\r\nC\r\nget c a\r\n"), "STORED\r\nVALUE c 0 1\r\nC\r\nEND\r\n");
        talk.wait(3);
        assert_eq!(talk.say("get b c\r\n"), "END\r\n");
        talk.say("set d 0 0 1\r\nD\r\n");
        assert_eq!(talk.say("flush_all 2592001\r\nget a b c d\r\n"), "OK\r\nEND\r\n", "a past time is now");
        assert_eq!(talk.say("flush_all x\r\nflush_all noreply\r\n"), "CLIENT_ERROR invalid exptime argument\r\n");
        assert_eq!(talk.stat("", "cmd_flush"), "5", "whatever came of it");
    }

    #[test]
    fn a_large_value_comes_back_whole() {
        let mut talk = Talk::new();
        let value: String = (0..100_000).map(|n| char::from(b'a' + (n % 23) as u8)).collect();
        assert_eq!(talk.say(format!("set k 0 0 100000\r\n{value}\r\n")), "STORED\r\n");
        let one = format!("VALUE k 0 100000\r\n{value}\r\n");
        assert_eq!(talk.say("get k k\r\n"), format!("{one}{one}END\r\n"));
    }
}

mod deleting_and_counting {
    use super::*;

    #[test]
    fn delete_ignores_further_words() {
        let mut talk = talk(&[
            ("delete k\r\n", "NOT_FOUND\r\n"),
            ("set k 0 0 1\r\na\r\ndelete k 0\r\n", "STORED\r\nDELETED\r\n"),
            ("set k 0 0 1\r\na\r\ndelete k a b c\r\n", "STORED\r\nDELETED\r\n"),
            ("set noreply 0 0 1\r\na\r\ndelete noreply\r\nget noreply\r\n", "STORED\r\nEND\r\n"),
            ("delete\r\n", FORMAT),
        ]);
        assert_eq!(talk.stat("", "delete_hits"), "3");
        assert_eq!(talk.stat("", "delete_misses"), "1");
    }

    #[test]
    fn arithmetic_pads_the_value_and_never_the_reply() {
        let mut talk = talk(&[
            ("incr n 1\r\n", "NOT_FOUND\r\n"),
            ("set n 5 0 3\r\n100\r\n", "STORED\r\n"),
            ("decr n 1\r\n", "99\r\n"),
            ("get n\r\n", "VALUE n 5 3\r\n99 \r\nEND\r\n"),
            ("incr n 9901\r\n", "10000\r\n"),
            ("get n\r\n", "VALUE n 5 5\r\n10000\r\nEND\r\n"),
            ("decr n 10001\r\n", "0\r\n"),
            ("get n\r\n", "VALUE n 5 5\r\n0    \r\nEND\r\n"),
            ("set n 0 0 5\r\n5 abc\r\nincr n 1\r\nget n\r\n", "STORED\r\n6\r\nVALUE n 0 5\r\n6    \r\nEND\r\n"),
            ("set n 0 0 20\r\n18446744073709551615\r\nincr n 1\r\n", "STORED\r\n0\r\n"),
            ("get n\r\n", "VALUE n 0 20\r\n0                   \r\nEND\r\n"),
        ]);
        assert_eq!(talk.stat("", "incr_hits"), "3");
        assert_eq!(talk.stat("", "decr_hits"), "2");
        assert_eq!(talk.stat("", "incr_misses"), "1");
    }

    #[test]
    fn arithmetic_says_the_same_wherever_the_number_lies() {
        let mut talk = Talk::new();
        for key_len in 1..=20 {
            let key = "k".repeat(key_len);
            for (stored, verb, delta, number) in [
                ("7", "incr", 1u64, "8"),
                ("9", "incr", 1, "10"),
                ("10", "decr", 1, "9"),
                ("99999999", "incr", 0, "99999999"),
                ("19999999", "incr", 1, "20000000"),
                ("1234567890", "incr", 8_765_432_110, "10000000000"),
                ("9999999999", "decr", 8_765_432_109, "1234567890"),
                ("12345678901234567890", "incr", 1, "12345678901234567891"),
                ("18446744073709551615", "incr", 1, "0"),
                ("1000 and something behind that", "decr", 1, "999"),
                ("007", "incr", 1, "8"),
                ("5 ", "incr", 5, "10"),
            ] {
                let padded = format!("{number:len$}", len = stored.len());
                let asked =
                    format!("set {key} 3 0 {}\r\n{stored}\r\n{verb} {key} {delta}\r\nget {key}\r\n", stored.len());
                let answer = format!("STORED\r\n{number}\r\nVALUE {key} 3 {}\r\n{padded}\r\nEND\r\n", padded.len());
                assert_eq!(talk.say(&asked), answer, "{asked:?}");
                // `ma` goes another way to the same.
                let mode = if verb == "incr" { 'I' } else { 'D' };
                let asked =
                    format!("ms {key} {}\r\n{stored}\r\nma {key} M{mode} D{delta} v\r\nmg {key} v\r\n", stored.len());
                let answer = format!("HD\r\nVA {}\r\n{number}\r\nVA {}\r\n{padded}\r\n", number.len(), padded.len());
                assert_eq!(talk.say(&asked), answer, "{asked:?}");
            }
        }
    }

    #[test]
    fn arithmetic_that_finds_an_item_past_its_time_counts_that() {
        let mut talk = talk(&[("set n 0 10 1\r\n1\r\n", "STORED\r\n")]);
        talk.wait(10);
        assert_eq!(talk.say("incr n 1\r\n"), "NOT_FOUND\r\n");
        assert_eq!((talk.stat("", "get_expired"), talk.stat("", "incr_misses")), ("1".to_owned(), "1".to_owned()));
    }

    #[test]
    fn arithmetic_refuses_what_is_no_number() {
        let refused = "CLIENT_ERROR cannot increment or decrement non-numeric value\r\n";
        talk(&[
            ("set a 0 0 1\r\nx\r\nincr a 1\r\n", &format!("STORED\r\n{refused}")),
            ("set a 0 0 0\r\n\r\nincr a 1\r\n", &format!("STORED\r\n{refused}")),
            ("set a 0 0 2\r\n-5\r\ndecr a 1\r\n", &format!("STORED\r\n{refused}")),
            ("incr a\r\n", FORMAT),
            ("incr a +1\r\n", "CLIENT_ERROR invalid numeric delta argument\r\n"),
        ]);
    }

    #[test]
    fn arithmetic_draws_a_new_cas_and_keeps_the_expiry() {
        let mut talk = talk(&[("set n 0 100 1\r\n1\r\n", "STORED\r\n")]);
        let before = talk.say("mg n c\r\n");
        assert_eq!(talk.say("incr n 1\r\nmg n t\r\n"), "2\r\nHD t100\r\n");
        assert_ne!(talk.say("mg n c\r\n"), before);
    }
}

mod meta {
    use super::*;

    #[test]
    fn flags_answer_in_the_clients_order() {
        talk(&[
            ("mg k\r\n", "EN\r\n"),
            ("mg foo Oabc k q\r\nmn\r\n", "MN\r\n"),
            ("mg foo Oabc k\r\n", "EN Oabc kfoo\r\n"),
            ("ms foo 3 F7 T60 s Ox k\r\nbar\r\n", "HD s3 Ox kfoo\r\n"),
            ("mg foo t f s v h l k\r\n", "VA 3 t60 f7 s3 h0 l0 kfoo\r\nbar\r\n"),
            ("mg foo h\r\n", "HD h1\r\n"),
            ("ms foo 3 q\r\nbar\r\nmg foo u h\r\nmg foo h\r\n", "HD h0\r\nHD h0\r\n"),
        ]);
    }

    #[test]
    fn t_before_touch_is_old_and_t_after_it_new() {
        talk(&[("set k 0 60 1\r\na\r\nmg k t T30\r\nmg k T-1 t\r\nmg k\r\n", "STORED\r\nHD t60\r\nHD t0\r\nEN\r\n")]);
    }

    #[test]
    fn a_vivified_item_gives_its_token_to_one_client() {
        let mut talk = talk(&[
            ("mg k N30 t\r\n", "HD t30 W\r\n"),
            ("mg k N30 v t\r\n", "VA 0 t30 Z\r\n\r\n"),
            ("ms k 1 T9\r\na\r\nmg k v\r\n", "HD\r\nVA 1\r\na\r\n"),
            ("mg e N0 E42 c\r\n", "HD c42 W\r\n"),
            ("mg YQ== N30 b k\r\nmg a k\r\n", "HD ka W\r\nHD ka Z\r\n"),
        ]);
        assert_eq!(talk.stat("", "cmd_get"), "6");
        assert_eq!(talk.stat("", "get_hits"), "6");
        assert_eq!(talk.stat("", "total_items"), "4");
        assert_eq!(talk.stat("", "cmd_set"), "1");
    }

    #[test]
    fn one_client_wins_the_right_to_recache() {
        talk(&[
            ("set k 0 60 1\r\na\r\nmg k R30\r\n", "STORED\r\nHD\r\n"),
            ("mg k R61 v\r\nmg k R61 v\r\n", "VA 1 W\r\na\r\nVA 1 Z\r\na\r\n"),
            ("set k 0 0 1\r\na\r\nmg k R61\r\n", "STORED\r\nHD\r\n"),
        ]);
    }

    #[test]
    fn the_first_reader_of_a_stale_item_wins() {
        let mut talk = talk(&[
            ("set k 3 60 1\r\na\r\nmd k I T30\r\n", "STORED\r\nHD\r\n"),
            ("mg k v t f\r\nmg k v\r\n", "VA 1 t30 f3 X W\r\na\r\nVA 1 Z X\r\na\r\n"),
        ]);
        // Marking it stale again takes the token back.
        assert_eq!(talk.say("md k I\r\nmg k\r\nmg k\r\n"), "HD\r\nHD X W\r\nHD Z X\r\n");
    }

    #[test]
    fn an_older_cas_with_invalidate_stores_stale() {
        let mut talk = talk(&[("ms k 1 T60 E100\r\na\r\n", "HD\r\n")]);
        assert_eq!(talk.say("ms k 1 C200 I\r\nb\r\n"), "EX\r\n");
        assert_eq!(talk.say("ms k 1 C0 I\r\nb\r\n"), "EX\r\n", "0 is no CAS, and so not an older one");
        assert_eq!(talk.say("ms k 1 C50 I T5\r\nc\r\n"), "HD\r\n");
        assert_eq!(talk.say("mg k v t\r\nmg k v t\r\n"), "VA 1 t60 X W\r\nc\r\nVA 1 t60 Z X\r\nc\r\n");
        assert_eq!(talk.stat("", "cas_hits"), "1");
        assert_eq!(talk.stat("", "cas_badval"), "2");
    }

    #[test]
    fn modes_and_compare_of_ms() {
        talk(&[
            ("ms k 1 MR\r\na\r\n", "NS\r\n"),
            ("ms k 1 MR C1\r\na\r\n", "NF\r\n"),
            ("ms k 1 C1\r\na\r\n", "NF\r\n"),
            ("ms k 1 MA C1 s c\r\na\r\n", "NS s1 c0\r\n"),
            ("ms k 1 MA N60 F5 T1\r\na\r\nmg k v t f\r\n", "HD\r\nVA 1 t60 f5\r\na\r\n"),
            ("ms k 2 MAppend s F9\r\nbc\r\nmg k v t f\r\n", "HD s3\r\nVA 3 t60 f5\r\nabc\r\n"),
            ("ms k 1 MP E77 c\r\nz\r\nmg k v c\r\n", "HD c77\r\nVA 4 c77\r\nzabc\r\n"),
            ("ms k 1 MA C5\r\na\r\nms k 1 MA C0\r\nd\r\n", "EX\r\nHD\r\n"),
            ("ms k 1 ME C5 s\r\na\r\n", "NS s1\r\n"),
            ("ms k 1 C0\r\na\r\n", "EX\r\n"),
            ("ms k 1 MX\r\na\r\n", "CLIENT_ERROR invalid mode for ms M token\r\n"),
            ("ms k 1 q\r\nabc", "CLIENT_ERROR bad data chunk\r\n"),
        ]);
    }

    #[test]
    fn md_compares_invalidates_and_clears() {
        let mut talk = talk(&[
            ("md k q\r\n", "NF\r\n"),
            ("ms k 2 E10 F5 T60\r\nab\r\nmd k C9 Ox k\r\n", "HD\r\nEX Ox kk\r\n"),
            ("md k x\r\nmg k v c f t\r\n", "HD\r\nVA 0 c10 f0 t-1\r\n\r\n"),
            (
                "ms k 2 E10 F5 T60\r\nab\r\nmd k x I F3 T9 E12\r\nmg k v c f t\r\n",
                "HD\r\nHD\r\nVA 0 c12 f3 t9 X W\r\n\r\n",
            ),
            ("ms k 2 E10 F5 T60\r\nab\r\nmd k I E20\r\nmg k v c f t\r\n", "HD\r\nHD\r\nVA 2 c20 f5 t60 X W\r\nab\r\n"),
            ("md k C20 q\r\nmg k\r\n", "EN\r\n"),
        ]);
        assert_eq!(talk.stat("", "delete_hits"), "3");
        assert_eq!(talk.stat("", "delete_misses"), "2");
    }

    #[test]
    fn ma_creates_compares_and_counts() {
        let mut talk = talk(&[
            ("ma n\r\n", "NF\r\n"),
            ("ma n N60 J13 v t c E5\r\n", "VA 2 t60 c5\r\n13\r\n"),
            ("ma n v\r\n", "VA 2\r\n14\r\n"),
            ("ma n MD D10 v t T30 t\r\n", "CLIENT_ERROR invalid or duplicate flag\r\n"),
            ("ma n MD D10 v T30 t\r\nmg n v\r\n", "VA 1 t30\r\n4\r\nVA 2\r\n4 \r\n"),
            ("ma n C1\r\n", "EX\r\n"),
            ("ma n E9 c\r\nma n C9 q\r\nmg n v\r\n", "HD c9\r\nVA 2\r\n6 \r\n"),
        ]);
        assert_eq!(talk.stat("", "incr_hits"), "3");
        assert_eq!(talk.stat("", "incr_misses"), "1");
        assert_eq!(talk.stat("", "decr_hits"), "1");
    }

    #[test]
    fn a_base64_key_is_the_decoded_one() {
        talk(&[
            ("ms Zm9v 3 b k\r\nbar\r\n", "HD kZm9v b\r\n"),
            ("get foo\r\n", "VALUE foo 0 3\r\nbar\r\nEND\r\n"),
            ("mg foo k\r\n", "HD kZm9v b\r\n"),
            ("me Zm9v b\r\n", "EN\r\n"),
        ]);
    }

    #[test]
    fn conditional_value() {
        talk(&[("ms k 1 E7\r\na\r\nmg k v C7 c\r\nmg k v C8\r\n", "HD\r\nHD c7\r\nVA 1\r\na\r\n")]);
    }

    #[test]
    fn me_tells_everything_without_being_an_access() {
        let mut talk = Talk::new();
        talk.say("set k 0 100 5\r\nhello\r\n");
        let line = talk.say("me k\r\n");
        assert!(line.starts_with("ME k exp=100 la=0 cas="), "{line}");
        assert!(line.ends_with(" fetch=no cls=1 size=65\r\n"), "{line}");
        assert_eq!(talk.say("mg k h\r\nme nothing\r\nme\r\n"), format!("HD h0\r\nEN\r\n{FORMAT}"));
        assert_eq!(talk.stat("", "cmd_meta"), "2");
    }
}

mod administration {
    use super::*;

    #[test]
    fn verbosity_needs_a_number() {
        talk(&[
            ("verbosity\r\n", FORMAT),
            ("verbosity x\r\n", FORMAT),
            ("verbosity 0 foo\r\nverbosity 0 noreply\r\n", "OK\r\n"),
        ]);
    }

    #[test]
    fn shutdown_needs_to_be_allowed() {
        talk(&[(
            "shutdown\r\nshutdown foo\r\n",
            "SERVER_ERROR: shutdown not enabled\r\nSERVER_ERROR: shutdown not enabled\r\n",
        )]);
        let mut talk = Talk::with(Settings { shutdown_command: true, ..Settings::default() });
        assert_eq!(talk.say("shutdown foo\r\n"), "CLIENT_ERROR invalid shutdown mode\r\n");
        assert_eq!(talk.say("version\r\nshutdown graceful\r\n"), "VERSION 1.6.45\r\n");
        assert_eq!(talk.ended, Some(Next::Shutdown { graceful: true }));
    }

    #[test]
    fn slabs_lru_and_memlimit_answer_as_memcached() {
        talk(&[
            (
                "slabs automove\r\nslabs automove 3\r\nslabs automove x\r\nslabs automove 1\r\n",
                &format!("ERROR\r\nERROR\r\n{FORMAT}OK\r\n"),
            ),
            (
                "slabs automove ratio x\r\nslabs automove ratio 0.5\r\nslabs automove freeratio 5e-1\r\n",
                "ERROR\r\nOK\r\nOK\r\n",
            ),
            (
                "slabs automove window 2\r\nslabs automove window 10\r\n",
                "CLIENT_ERROR automove window too low or too high\r\nOK\r\n",
            ),
            (
                "slabs reassign 1 1\r\nslabs reassign x 1\r\nslabs reassign 1\r\n",
                &format!("SAME src and dst class are identical\r\n{FORMAT}ERROR\r\n"),
            ),
            (
                "slabs reassign 1 64\r\nslabs reassign 1 2\r\n",
                "BADCLASS invalid src or dst class id\r\nNOSPARE source class has no spare pages\r\n",
            ),
            ("lru tune 50 50 1 1\r\n", "ERROR hot and warm pcts must not exceed 80\r\n"),
            ("lru tune 10 20 0 1\r\n", "ERROR hot/warm age factors must be greater than 0\r\n"),
            (
                "lru tune 10 25 0.1 2.0\r\nlru mode flat\r\nlru mode x\r\nlru temp_ttl -1\r\nlru x y\r\n",
                "OK\r\nOK\r\nERROR\r\nOK\r\nERROR\r\n",
            ),
            ("cache_memlimit\r\ncache_memlimit x\r\n", "ERROR\r\nERROR\r\n"),
            ("cache_memlimit 7\r\n", "MEMLIMIT_TOO_SMALL cannot set maxbytes to less than 8m\r\n"),
            ("cache_memlimit 1000000001\r\n", "MEMLIMIT_ADJUST_FAILED input value is megabytes not bytes\r\n"),
            (
                "extstore\r\nextstore item_size 5\r\nextstore item_size x\r\nextstore free_memchunks 1 2\r\n",
                "ERROR\r\nOK\r\nERROR\r\nOK\r\n",
            ),
            ("refresh_certs\r\n", "Error TLS not enabled\r\n"),
            ("debugtime 5\r\nmisbehave\r\n", "ERROR\r\nERROR\r\n"),
        ]);
    }

    #[test]
    fn what_commands_change_is_shown_in_settings() {
        let mut talk =
            talk(&[("lru tune 10 25 0.1 2.0\r\nslabs automove 2\r\nlru_crawler sleep 7\r\n", "OK\r\nOK\r\nOK\r\n")]);
        for (name, value) in
            [("hot_lru_pct", "10"), ("hot_max_factor", "0.10"), ("slab_automove", "2"), ("lru_crawler_sleep", "7")]
        {
            assert_eq!(talk.stat("settings", name), value);
        }
    }

    #[test]
    fn the_crawler_answers_as_memcached() {
        talk(&[
            ("lru_crawler\r\nlru_crawler foo\r\nlru_crawler crawl\r\n", "ERROR\r\nERROR\r\nERROR\r\n"),
            (
                "lru_crawler crawl 64\r\nlru_crawler crawl x\r\nlru_crawler crawl 0\r\n",
                &"BADCLASS invalid class id\r\n".repeat(3),
            ),
            ("lru_crawler crawl hash\r\nlru_crawler crawl 1,2\r\n", "ERROR an unknown error happened\r\nOK\r\n"),
            ("lru_crawler enable\r\nlru_crawler disable\r\n", "ERROR failed to start lru crawler thread\r\nOK\r\n"),
            ("lru_crawler metadump all\r\n", "CLIENT_ERROR lru crawler disabled\r\n"),
            (
                "lru_crawler enable\r\nlru_crawler sleep 1000001\r\n",
                "OK\r\nCLIENT_ERROR sleep must be one second or less\r\n",
            ),
        ]);
    }

    #[test]
    fn metadump_lists_every_item_and_then_the_conn_goes_on() {
        let mut talk = Talk::new();
        talk.say("set a%b 5 0 1\r\nA\r\nms Zm9v 1 b T100\r\nB\r\n");
        let exptime = talk.now.seconds + 100;
        let la = talk.now.seconds;
        let dump = talk.say("lru_crawler metadump all\r\nversion\r\n");
        let mut lines: Vec<&str> = dump.split('\n').collect();
        assert_eq!(lines.remove(0), "OK\r");
        let rest = lines.split_off(2);
        assert_eq!(rest, ["END\r", "VERSION 1.6.45\r", ""]);
        lines.sort_unstable();
        assert!(lines[0].starts_with(&format!("key=a%25b exp=-1 la={la} cas=")), "{}", lines[0]);
        assert!(lines[0].ends_with(" fetch=no cls=1 size=67 flags=5 "), "{}", lines[0]);
        assert!(lines[1].starts_with(&format!("key=foo exp={exptime} la={la} cas=")), "{}", lines[1]);
        assert_eq!(
            talk.say("version\r\nlru_crawler metadump all\r\n"),
            "VERSION 1.6.45\r\nERROR cannot pipeline other commands before metadump\r\n"
        );
    }

    #[test]
    fn mgdump_writes_commands() {
        let mut talk = Talk::new();
        talk.say("ms Zm9v 1 b\r\nB\r\n");
        assert_eq!(talk.say("lru_crawler mgdump hash\r\n"), "OK\r\nmg Zm9v b\r\nEN\r\n");
        talk.say("delete foo\r\nset k 0 0 1\r\nA\r\n");
        assert_eq!(talk.say("lru_crawler mgdump 1,2\r\n"), "OK\r\nmg k\r\nEN\r\n");
        assert_eq!(talk.say("lru_crawler mgdump 2\r\n"), "OK\r\nEN\r\n");
    }

    #[test]
    fn a_large_dump_takes_several_turns() {
        let mut talk = Talk::new();
        for n in 0..10_000 {
            talk.say(format!("set key-{n} 0 0 1 noreply\r\nA\r\n"));
        }
        let dump = talk.say("lru_crawler metadump all\r\n");
        assert_eq!(dump.lines().count(), 10_002);
        assert!(talk.yields >= 2, "{}", talk.yields);
    }

    #[test]
    fn the_debug_clock_moves_at_once() {
        let mut talk = Talk::with(Settings { debug_commands: true, ..Settings::default() });
        assert_eq!(
            talk.say("set k 0 10 1\r\nA\r\ndebugtime 20\r\nget k\r\ndebugtime p\r\ndebugtime r\r\ndebugtime x\r\n"),
            "STORED\r\nOK\r\nEND\r\nOK\r\nOK\r\nERROR\r\n"
        );
        assert_eq!(talk.say("set k 0 0 1\r\nA\r\ndebugitem ref k\r\ndebugitem ref x\r\n"), "STORED\r\nOK\r\nMISS\r\n");
    }
}

mod statistics {
    use super::*;

    #[test]
    fn sub_commands_match_by_prefix() {
        let mut talk = Talk::new();
        assert!(talk.say("stats s\r\n").starts_with("STAT maxbytes 67108864\r\n"));
        assert_eq!(talk.say("stats re\r\n"), "RESET\r\n");
        assert_eq!(talk.say("stats foo\r\nstats noreply\r\nstats item\r\n"), "ERROR\r\n".repeat(3));
        assert_eq!(talk.say("stats e\r\nstats sizes\r\n"), "END\r\nSTAT sizes_status disabled\r\nEND\r\n");
    }

    #[test]
    fn detail_counts_classic_commands_by_prefix() {
        talk(&[
            ("stats detail\r\n", "CLIENT_ERROR usage: stats detail on|off|dump\r\n"),
            ("stats detail on\r\n", "OK\r\n"),
            (
                "set a:x 0 0 1\r\nA\r\nget a:x a:y\r\nmg a:x\r\ndelete a:x\r\n",
                "STORED\r\nVALUE a:x 0 1\r\nA\r\nEND\r\nHD\r\nDELETED\r\n",
            ),
            ("stats detail dump\r\n", "PREFIX a get 2 hit 1 set 1 del 1\r\nEND\r\n"),
            ("stats reset\r\nstats detail dump\r\n", "RESET\r\nEND\r\n"),
        ]);
    }

    #[test]
    fn reset_zeroes_counters_and_leaves_states() {
        let mut talk = Talk::new();
        talk.say("set a 0 0 1\r\nA\r\nget a b\r\n");
        assert_eq!(talk.stat("", "cmd_get"), "2");
        talk.say("stats reset\r\n");
        for (name, value) in [("cmd_get", "0"), ("cmd_set", "0"), ("total_items", "0"), ("curr_items", "1")] {
            assert_eq!(talk.stat("", name), value, "{name}");
        }
        assert_eq!(talk.stat("slabs", "1:get_hits"), "0");
        talk.say("get a\r\n");
        assert_eq!(talk.stat("slabs", "1:get_hits"), "1");
    }

    #[test]
    fn items_and_slabs_are_listed_by_class() {
        let mut talk = Talk::new();
        assert_eq!(talk.say("stats items\r\n"), "END\r\n");
        talk.say("set a 0 0 1\r\nA\r\n");
        assert_eq!(talk.stat("items", "items:1:number"), "1");
        assert_eq!(talk.say("stats items\r\n").lines().count(), 29, "28 lines without TEMP, and END");
        assert_eq!(talk.stat("slabs", "1:chunk_size"), "96");
        assert_eq!(talk.stat("slabs", "1:cmd_set"), "1");
        assert_eq!(talk.stat("slabs", "active_slabs"), "1");
    }

    #[test]
    fn cachedump_lists_a_class() {
        let mut talk = Talk::new();
        assert_eq!(talk.say("stats cachedump\r\nstats cachedump 1\r\n"), "CLIENT_ERROR bad command line\r\n".repeat(2));
        assert_eq!(talk.say("stats cachedump a b\r\n"), FORMAT);
        assert_eq!(talk.say("stats cachedump 64 0\r\n"), "CLIENT_ERROR Illegal slab id\r\n");
        talk.say("set a 0 0 1\r\nA\r\nset b 0 100 2\r\nBB\r\n");
        let exptime = talk.now.seconds + 100;
        let dump = talk.say("stats cachedump 1 0\r\n");
        assert!(
            dump.contains("ITEM a [1 b; 0 s]\r\n") && dump.contains(&format!("ITEM b [2 b; {exptime} s]\r\n")),
            "{dump}"
        );
        assert_eq!(talk.say("stats cachedump 1 1\r\n").lines().count(), 2);
        assert_eq!(talk.say("stats cachedump 0 0\r\n"), "END\r\n");
    }

    #[test]
    fn dumps_can_be_forbidden() {
        let mut talk = Talk::with(Settings { dump_enabled: false, flush_enabled: false, ..Settings::default() });
        assert_eq!(
            talk.say("lru_crawler metadump all\r\nlru_crawler mgdump all\r\nstats cachedump 1 1\r\nstats detail on\r\nflush_all\r\n"),
            "ERROR metadump not allowed\r\nERROR key dump not allowed\r\nCLIENT_ERROR stats cachedump not allowed\r\n\
             CLIENT_ERROR stats detail not allowed\r\nCLIENT_ERROR flush_all not allowed\r\n"
        );
        assert_eq!(talk.stat("", "cmd_flush"), "1");
    }
}

/// What watchers are told (section 12). Lines were compared with those of a running memcached.
mod watching {
    use super::*;

    /// What a watcher is told about each exchange, without times and numbers.
    fn told(streams: &str, exchanges: &[&str]) -> Vec<String> {
        let mut watcher = Talk::new();
        assert_eq!(watcher.say(format!("watch {streams}\r\n")), "OK\r\n");
        let mut talk = watcher.beside();
        for exchange in exchanges {
            talk.say(exchange);
        }
        lines(&watcher.say(""))
    }

    fn lines(said: &str) -> Vec<String> {
        said.lines().map(|line| line.split_once(" type=").map_or(line, |(_, rest)| rest).to_owned()).collect()
    }

    #[test]
    fn every_lookup_is_a_line_for_fetchers() {
        let exchanges = [
            "set a 0 0 3\r\nabc\r\n",
            "get a b\r\n",
            "append a 0 0 1\r\nx\r\n",
            "touch a 0\r\n",
            "gat 0 a\r\n",
            "mg a\r\n",
            "me a\r\n",
            "incr a 1\r\n",
            "ma n N0 J5\r\n",
            "set a 0 -1 3\r\nabc\r\n",
            "delete a\r\n",
            "set f 0 0 1\r\nx\r\n",
            "flush_all\r\n",
            "md f\r\n",
        ];
        let expected = [
            "item_get key=a status=not_found clsid=0 cfd=9 size=0",
            "item_get key=a status=found clsid=1 cfd=9 size=3",
            "item_get key=b status=not_found clsid=0 cfd=9 size=0",
            "item_get key=a status=found clsid=1 cfd=9 size=3",
            "item_get key=a status=found clsid=1 cfd=9 size=4",
            "item_get key=a status=found clsid=1 cfd=9 size=4",
            "item_get key=a status=found clsid=1 cfd=9 size=4",
            "item_get key=a status=found clsid=1 cfd=9 size=4",
            "item_get key=a status=found clsid=1 cfd=9 size=4",
            "item_get key=n status=not_found clsid=0 cfd=9 size=0",
            "item_get key=n status=not_found clsid=0 cfd=9 size=0",
            "item_get key=a status=found clsid=1 cfd=9 size=4",
            "item_get key=a status=expired clsid=0 cfd=9 size=0",
            "item_get key=f status=not_found clsid=0 cfd=9 size=0",
            "item_get key=f status=flushed clsid=0 cfd=9 size=0",
        ];
        assert_eq!(told("", &exchanges), expected);
        assert_eq!(told("fetchers", &exchanges), expected);
        // What the client asks for in one burst is told in the order in which it was done.
        assert_eq!(told("fetchers", &[&exchanges.concat()]), expected);
    }

    #[test]
    fn every_attempt_to_store_is_a_line_for_mutations() {
        let exchanges = [
            "set a 0 0 3\r\nabc\r\n",
            "set a 0 -1 3\r\nabc\r\n",
            "set a%b 5 100 3\r\nabc\r\n",
            "append a%b 0 0 1\r\nx\r\n",
            "cas a%b 0 0 1 5\r\nx\r\n",
            "cas no 0 0 1 5\r\nx\r\n",
            "add a%b 0 0 1 noreply\r\n1\r\n",
            "replace no 0 0 1\r\n1\r\n",
            "set big 0 0 2000000\r\n",
        ];
        let expected = [
            "item_store key=a status=stored cmd=set ttl=0 clsid=1 cfd=9 size=3",
            // Second 1 of memcached's clock, 62 seconds after its start, which is now.
            "item_store key=a status=stored cmd=set ttl=4294967235 clsid=1 cfd=9 size=3",
            "item_store key=a%25b status=stored cmd=set ttl=100 clsid=1 cfd=9 size=3",
            "item_store key=a%25b status=stored cmd=append ttl=100 clsid=1 cfd=9 size=4",
            "item_store key=a%25b status=exists cmd=cas ttl=0 clsid=1 cfd=9 size=1",
            "item_store key=no status=not_found cmd=cas ttl=0 clsid=1 cfd=9 size=1",
            "item_store key=a%25b status=not_stored cmd=add ttl=0 clsid=1 cfd=9 size=1",
            "item_store key=no status=not_stored cmd=replace ttl=0 clsid=1 cfd=9 size=1",
            "item_store key=big status=too_large cmd=set ttl=0 clsid=0 cfd=9 size=0",
        ];
        assert_eq!(told("mutations", &exchanges), expected);
    }

    #[test]
    fn meta_stores_are_told_by_the_classic_names() {
        let exchanges = [
            "ms m 1 N10 MA\r\nx\r\n",
            "ms o 1 MP\r\nx\r\n",
            "ms o 1 T30\r\nx\r\n",
            "ms o 1 C999\r\nx\r\n",
            "ms o 1 MR\r\nx\r\n",
            "ms o 1 ME\r\nx\r\n",
            "ma n N0 J5\r\n",
            "mg z N30\r\n",
            "incr n 1\r\n",
            "touch n 5\r\n",
            "set bad 0 0 1\r\nxxx\r\n",
        ];
        let expected = [
            "item_store key=m status=stored cmd=append ttl=10 clsid=1 cfd=9 size=1",
            "item_store key=o status=not_stored cmd=prepend ttl=0 clsid=1 cfd=9 size=1",
            "item_store key=o status=stored cmd=set ttl=30 clsid=1 cfd=9 size=1",
            "item_store key=o status=exists cmd=cas ttl=0 clsid=1 cfd=9 size=1",
            "item_store key=o status=stored cmd=replace ttl=0 clsid=1 cfd=9 size=1",
            "item_store key=o status=not_stored cmd=add ttl=0 clsid=1 cfd=9 size=1",
            "item_store key=n status=stored cmd=add ttl=0 clsid=1 cfd=9 size=1",
        ];
        assert_eq!(told("mutations", &exchanges), expected);
    }

    #[test]
    fn a_value_that_comes_in_pieces_is_told_once() {
        let mut watcher = Talk::new();
        watcher.say("watch fetchers mutations\r\n");
        let mut talk = watcher.beside();
        for piece in ["set k 0 0 3\r\n", "a", "bc\r", "\n"] {
            talk.say(piece);
        }
        let expected = [
            "item_get key=k status=not_found clsid=0 cfd=9 size=0",
            "item_store key=k status=stored cmd=set ttl=0 clsid=1 cfd=9 size=3",
        ];
        assert_eq!(lines(&watcher.say("")), expected);
    }

    #[test]
    fn deletes_that_did_something_are_lines_for_deletions() {
        let exchanges = [
            "set a 0 0 3\r\nabc\r\n",
            "delete no\r\n",
            "delete a\r\n",
            "set a 0 0 2\r\nab\r\n",
            "md a C999\r\n",
            "md a I\r\n",
            "md a x\r\n",
            "md a q\r\n",
        ];
        let expected = [
            "deleted key=a cmd=delete clsid=1 size=3",
            "deleted key=a cmd=md clsid=1 size=2",
            "deleted key=a cmd=md clsid=1 size=0",
        ];
        assert_eq!(told("deletions", &exchanges), expected);
    }

    #[test]
    fn evictions_tell_what_went() {
        let mut watcher = Talk::new();
        watcher.say("watch evictions sysevents\r\n");
        let mut talk = watcher.beside();
        let value = "x".repeat(100_000);
        for number in 0..1000 {
            talk.say(format!("set k{number} 0 {} 100000\r\n{value}\r\n", if number < 500 { 0 } else { 1000 }));
        }
        let evicted: u64 = talk.stat("", "evictions").parse().unwrap();
        let said = lines(&watcher.say(""));
        let evictions: Vec<_> = said.iter().filter(|line| line.starts_with("eviction key=k")).collect();
        assert!(evicted > 100 && evictions.len() as u64 == evicted, "{evicted} evicted, {} told", evictions.len());
        assert!(
            evictions
                .iter()
                .all(|line| line.contains(" fetch=no ttl=") && line.ends_with(" la=0 clsid=32 size=100000"))
        );
        assert!(evictions[0].contains(" ttl=-1 "), "{}", evictions[0]);
    }

    #[test]
    fn a_watcher_is_never_answered_again() {
        let mut talk = Talk::new();
        assert_eq!(talk.say("watch deletions\r\nget k\r\n"), "OK\r\n");
        assert_eq!(talk.say("version\r\nquit\r\n"), "");
        assert_eq!(talk.ended, None);
        assert_eq!(talk.stat("", "log_watchers"), "", "it is no client any more");
        let mut other = talk.beside();
        assert_eq!(other.stat("", "log_watchers"), "1");
        drop(talk);
        assert_eq!(other.stat("", "log_watchers"), "0");
    }

    #[test]
    fn refusals_leave_the_connection_as_it_was() {
        let mut talk = Talk::new();
        assert_eq!(talk.say("watch bogus\r\nversion\r\n"), "ERROR\r\nVERSION 1.6.45\r\n");
        assert_eq!(
            talk.say("version\r\nwatch\r\nversion\r\n"),
            "VERSION 1.6.45\r\nERROR cannot pipeline other commands before watch\r\nVERSION 1.6.45\r\n"
        );
        let watchers: Vec<Talk> = (0..20)
            .map(|_| {
                let mut watcher = talk.beside();
                assert_eq!(watcher.say("watch rawcmds proxyreqs proxyevents proxyuser\r\n"), "OK\r\n");
                watcher
            })
            .collect();
        let refusal = "WATCHER_TOO_MANY log watcher limit reached\r\n";
        assert_eq!(talk.say("watch\r\nversion\r\n"), format!("{refusal}VERSION 1.6.45\r\n"));
        drop(watchers);
        assert_eq!(talk.say("watch f\r\n"), "OK\r\n", "a prefix of a word will do");
    }

    #[test]
    fn a_slow_watcher_is_told_how_much_it_missed() {
        let settings = Settings { watcher_logbuf_bytes: 4096, ..Settings::default() };
        let mut watcher = Talk::with(settings);
        watcher.say("watch\r\n");
        let mut talk = watcher.beside();
        talk.say(format!("get{}\r\n", " k".repeat(1000)));
        let kept = watcher.say("").lines().count();
        assert!((20..100).contains(&kept), "{kept}");
        talk.say("get k\r\n");
        let said = watcher.say("");
        assert!(said.starts_with(&format!("skipped={}\nts=", 1000 - kept)) && said.lines().count() == 2, "{said}");
        assert_eq!(talk.stat("", "log_watcher_skipped"), (1000 - kept).to_string());
        assert_eq!(talk.stat("", "log_watcher_sent"), (kept + 1).to_string());
        assert_eq!(talk.stat("", "log_worker_written"), "1001");
        talk.say("stats reset\r\n");
        assert_eq!((talk.stat("", "log_watcher_skipped"), talk.stat("", "log_watchers")), ("0".into(), "1".into()));
    }
}

/// Values of [`PIN_BYTES`] and more that lie in one chunk, while somebody reads them without a lock.
mod pinned {
    use super::*;
    use std::sync::mpsc;
    use std::time::Duration;

    /// Far more than the exchanges take; less than anybody would wait for a deadlock.
    const PATIENCE: Duration = Duration::from_secs(20);

    /// A number with spaces up to the size that is pinned, held as a slow reader holds it; then the exchanges, each of which has to
    /// be answered, and the reader lets go while they go on.
    ///
    /// Arithmetic once pinned the value itself and let go of it under the stripe that letting go took: that thread waited for itself,
    /// and every other client of the stripe for it.
    fn exchanges_beside_a_reader(exchanges: &'static [(&'static str, &'static str)]) {
        let (done, wait) = mpsc::channel();
        std::thread::spawn(move || {
            let mut talk = Talk::new();
            let padded = format!("{:<width$}", 41, width = PIN_BYTES + 100);
            assert_eq!(talk.say(format!("set n 0 0 {}\r\n{padded}\r\n", padded.len())), "STORED\r\n");
            let store = talk.store.clone();
            let held = store.lookup(b"n", store.hash(b"n"), talk.now, |found| match found {
                Lookup::Found(entry) => match entry.value() {
                    Value::Pinned(value) => Some(value),
                    Value::Inline(_) => None,
                },
                Lookup::Absent(_) => None,
            });
            let held = held.expect("a value of this size is pinned");
            for (sent, expected) in exchanges {
                assert_eq!(talk.say(sent), *expected, "to {sent:?}");
            }
            assert_eq!(held.slice_at(0), padded.as_bytes(), "the reader still sees what it began to read");
            drop(held);
            for (sent, _) in exchanges {
                talk.say(sent);
            }
            assert_eq!(store.held_bytes(), 0, "nobody reads any more");
            let _ = done.send(());
        });
        let end = wait.recv_timeout(PATIENCE);
        assert_ne!(end, Err(mpsc::RecvTimeoutError::Timeout), "a command on a value that is being read waits for ever");
        assert_eq!(end, Ok(()), "an answer was wrong, see above");
    }

    #[test]
    fn arithmetic_on_a_value_that_is_being_read_does_not_wait_for_the_reader() {
        exchanges_beside_a_reader(&[
            ("incr n 1\r\n", "42\r\n"),
            ("decr n 2\r\n", "40\r\n"),
            ("ma n v\r\n", "VA 2\r\n41\r\n"),
        ]);
        exchanges_beside_a_reader(&[("ma n MD D41 v\r\n", "VA 1\r\n0\r\n"), ("incr m 1\r\n", "NOT_FOUND\r\n")]);
    }

    #[test]
    fn whatever_replaces_or_removes_a_value_that_is_being_read_is_done_at_once() {
        exchanges_beside_a_reader(&[("append n 0 0 1\r\nx\r\n", "STORED\r\n"), ("delete n\r\n", "DELETED\r\n")]);
        exchanges_beside_a_reader(&[
            ("md n I\r\n", "HD\r\n"),
            ("md n x\r\n", "HD\r\n"),
            ("touch n 0\r\n", "TOUCHED\r\n"),
        ]);
        exchanges_beside_a_reader(&[("set n 0 -1 1\r\nx\r\n", "STORED\r\n"), ("get n\r\n", "END\r\n")]);
    }
}
