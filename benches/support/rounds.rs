//! Figures of several rounds: medians, and the ratio of two servers within each round.
//!
//! The machine's mood changes between rounds, but both servers of a round see the same.

/// A ratio in each round, sorted.
pub struct Ratios(Vec<f64>);

impl Ratios {
    /// The first figure of each pair over the second.
    pub fn new(pairs: impl Iterator<Item = [f64; 2]>) -> Ratios {
        Ratios(sorted(pairs.map(|[ours, theirs]| ours / theirs)))
    }

    pub fn median(&self) -> f64 {
        median(&self.0)
    }

    pub fn lowest(&self) -> f64 {
        self.0[0]
    }

    pub fn highest(&self) -> f64 {
        self.0[self.0.len() - 1]
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// For a cell of a table.
    pub fn shown(&self) -> String {
        format!("**{:.2}** ({:.2}..{:.2})", self.median(), self.lowest(), self.highest())
    }
}

/// The middle one of some figures.
pub fn median_of(values: impl Iterator<Item = f64>) -> f64 {
    median(&sorted(values))
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

fn median(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[middle] } else { f64::midpoint(sorted[middle - 1], sorted[middle]) }
}
