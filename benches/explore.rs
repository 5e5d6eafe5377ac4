//! scratch
mod policies;
use memhold::tools::trace::generate::ROWS;
use policies::{simulate, store, POLICIES};
use policies::score::Score;
fn main() {
    let args: Vec<String> = std::env::args().filter(|a| a != "--bench").skip(1).collect();
    let names = args[0].split(',').collect::<Vec<_>>();
    for row in ROWS {
        if args[0] != "all" && !names.contains(&row.name) { continue; }
        let trace = row.make(1);
        print!("{:10}", row.name);
        for spec in &args[1..] {
            let f = if spec == "store" { store::run(&trace, 64 << 20) }
            else if let Some((_, make)) = POLICIES.iter().find(|(n, _)| *n == spec) { simulate(&trace, 64 << 20, make(&trace)) }
            else {
                let v: Vec<f64> = spec.split(',').map(|x| x.parse().unwrap()).collect();
                simulate(&trace, 64 << 20, Box::new(Score::new(&trace, v[0] as u32, v[1] as u32, [v[2], v[3], *v.get(4).unwrap_or(&0.0), *v.get(5).unwrap_or(&0.0)])))
            };
            print!(" {:.4}", trace.hit_ratio(&f));
            if row.name == "sessions" { print!("({:.3})", f[2].ratio()); }
            if row.name == "sizes" { print!("({:.3} {:.3} {:.3})", f[0].ratio(), f[1].ratio(), f[2].ratio()); }
        }
        println!();
    }
}
