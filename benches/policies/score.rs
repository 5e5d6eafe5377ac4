//! scratch
use super::Policy;
use memhold::tools::trace::Trace;
use memhold::tools::bench::items::Random;

pub struct Score {
    millis: Vec<u32>, size: Vec<u32>,
    keys: Vec<u32>, place: Vec<u32>,
    last: Vec<u32>, born: Vec<u32>, gap: Vec<u32>, n: Vec<u32>, bytes: Vec<u32>,
    now: u32, random: Random, variant: u32, p: [f64;4], k: u32,
}
impl Score {
    pub fn new(trace: &Trace, variant: u32, k: u32, p: [f64;4]) -> Score {
        let n = trace.keys();
        Score { millis: trace.requests.iter().map(|r| r.millis).collect(), size: trace.requests.iter().map(|r| r.size + 48).collect(),
        keys: vec![], place: vec![0;n], last: vec![0;n], born: vec![0;n], gap: vec![0;n], n: vec![0;n], bytes: vec![0;n], now: 0, random: Random(5), variant, p, k }
    }
    fn score(&self, key: u32) -> f64 {
        let k = key as usize;
        let idle = (self.now - self.last[k]) as f64 + 1.0;
        let size = (self.bytes[k] as f64).powf(self.p[1]);
        let n = self.n[k];
        match self.variant {
            0 => idle * size * if n == 0 { self.p[0] } else { 1.0 },
            1 => if n == 0 { idle * self.p[0] * size } else { (idle + self.gap[k] as f64 * self.p[2]) * size },
            2 => idle * size / (self.p[2] + n.min(self.p[3] as u32) as f64) * if n == 0 { self.p[0] } else { 1.0 },
            3 => { let age = (self.now - self.born[k]) as f64; age * size / (n as f64 + 1.0) }
            4 => { let rel = self.bytes[k] as f64 / self.p[3]; if n == 0 { idle * self.p[0] * rel.powf(self.p[1]) } else { idle * rel.powf(self.p[2]) } }
            5 => { let rel = self.bytes[k] as f64 / 350.0; if n == 0 { idle * self.p[0] * rel.powf(self.p[1]) } else { idle * rel.powf(self.p[1]) * if n < 3 { 1.0 } else { self.p[2] } } }
            _ => 0.0
        }
    }
    fn take(&mut self, key: u32) {
        let p = self.place[key as usize] as usize;
        self.keys.swap_remove(p);
        if let Some(&m) = self.keys.get(p) { self.place[m as usize] = p as u32; }
    }
}
impl Policy for Score {
    fn hit(&mut self, key: u32, at: usize) {
        self.now = self.millis[at];
        let k = key as usize;
        self.bytes[k] = self.size[at];
        let gap = self.now - self.last[k];
        if gap >= 250 || self.n[k] == 0 {
            // smoothed gap
            self.gap[k] = if self.n[k] == 0 { gap } else { (self.gap[k] + gap) / 2 };
            self.n[k] += 1;
            self.last[k] = self.now;
        }
    }
    fn insert(&mut self, key: u32, at: usize) {
        self.now = self.millis[at];
        let k = key as usize;
        self.bytes[k] = self.size[at];
        self.last[k] = self.now; self.born[k] = self.now; self.n[k] = 0; self.gap[k] = 0;
        self.place[k] = self.keys.len() as u32; self.keys.push(key);
    }
    fn evict(&mut self) -> u32 {
        let len = self.keys.len() as u64;
        let mut best = (-1.0, 0);
        for _ in 0..self.k {
            let key = self.keys[(self.random.bits() % len) as usize];
            let s = self.score(key);
            if s > best.0 { best = (s, key); }
        }
        self.take(best.1);
        best.1
    }
    fn remove(&mut self, key: u32) { self.take(key); }
}
