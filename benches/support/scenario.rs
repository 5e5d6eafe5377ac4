//! What is asked of a server: one row for each scenario, and the items they are about.
//!
//! The items of a scenario are drawn once, by the same seed, so every server is asked for the same ones in the same order.

use std::sync::Arc;

use memhold::tools::bench::dialect::Dialect;
use memhold::tools::bench::items::{Items, Shape};
use memhold::tools::bench::mix::Mix;
use memhold::tools::bench::player::Plan;
use memhold::tools::bench::replies::Counts;
use memhold::tools::link::Target;

use super::Failure;

/// A kind of load.
pub struct Scenario {
    pub name: &'static str,
    /// How many connections carry it.
    pub connections: usize,
    pub dialect: Dialect,
    pub mix: Mix,
    /// Requests in a write.
    pub pipeline: usize,
    /// Keys in a request to read.
    pub multiget: usize,
    pub about: About,
}

/// Which items are asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum About {
    /// The small ones.
    Sessions,
    /// Some that were never stored.
    Absent,
    /// Those of 100 kB.
    Large,
    /// Those of 1 MB.
    Huge,
}

/// The scenario that is about the time from request to reply.
pub const LATENCY: &str = "latency";

/// Every scenario, in the order of the table.
pub const SCENARIOS: &[Scenario] = &[
    GET,
    Scenario { name: "set", mix: Mix::SETS, ..GET },
    Scenario { name: "get-16", pipeline: 16, ..GET },
    Scenario { name: "get-64", pipeline: 64, ..GET },
    Scenario { name: "mg-16", pipeline: 16, dialect: Dialect::Meta, ..GET },
    Scenario { name: "binary-getq-16", multiget: 16, dialect: Dialect::Binary, ..GET },
    Scenario { name: "miss-16", pipeline: 16, about: About::Absent, ..GET },
    Scenario { name: "miss-64", pipeline: 64, about: About::Absent, ..GET },
    Scenario { name: "multiget-100", multiget: 100, ..GET },
    Scenario { name: "incr-16", pipeline: 16, mix: INCRS, ..GET },
    Scenario { name: "set-16", pipeline: 16, mix: Mix::SETS, ..GET },
    Scenario { name: "get-100k", connections: FEW, about: About::Large, ..GET },
    Scenario { name: "set-100k", connections: FEW, about: About::Large, mix: Mix::SETS, ..GET },
    Scenario { name: "get-1m", connections: FEW, about: About::Huge, ..GET },
    Scenario { name: "set-1m", connections: FEW, about: About::Huge, mix: Mix::SETS, ..GET },
    Scenario { name: LATENCY, connections: 1, ..GET },
];

/// One get at a time, which most rows are a variation of.
const GET: Scenario = Scenario {
    name: "get",
    connections: MANY,
    dialect: Dialect::Text,
    mix: Mix::GETS,
    pipeline: 1,
    multiget: 1,
    about: About::Sessions,
};

const INCRS: Mix = Mix { incrs: 100, ..Mix::GETS };

impl Scenario {
    /// The row of this name.
    pub fn named(name: &str) -> &'static Scenario {
        SCENARIOS.iter().find(|scenario| scenario.name == name).expect("a scenario is named as in the table")
    }

    /// Whether it is about operations rather than about bytes.
    pub fn is_small(&self) -> bool {
        matches!(self.about, About::Sessions | About::Absent)
    }

    /// Whether what it asks for is there.
    fn hits(&self) -> bool {
        self.about != About::Absent
    }

    /// Fails when what was answered is not what the scenario is about: a server that has lost its items is a cheap one.
    ///
    /// # Errors
    ///
    /// See above.
    pub fn prove(&self, counts: &Counts) -> Result<(), Failure> {
        let found = if self.hits() { counts.misses } else { counts.hits };
        if found + counts.refused + counts.absent == 0 {
            return Ok(());
        }
        Err(format!("{}: not what was stored: {counts:?}", self.name).into())
    }

    /// What costs are given for, and how many of them a request is.
    pub fn unit(&self) -> (&'static str, f64) {
        match self.about {
            About::Large => ("kB", LARGE_LEN as f64 / 1e3),
            About::Huge => ("kB", HUGE_LEN as f64 / 1e3),
            _ if self.multiget > 1 => ("key", self.multiget as f64),
            _ => ("op", 1.0),
        }
    }

    /// Bursts until every item drawn was asked for once.
    pub fn bursts(&self, world: &World) -> u64 {
        (self.draws(world) / self.pipeline / self.multiget) as u64
    }

    fn draws(&self, world: &World) -> usize {
        if self.is_small() { world.draws } else { world.draws.min(LARGE_DRAWS) }
    }

    /// How to put it on a server.
    pub fn plan(&self, world: &World, target: Target) -> Plan {
        Plan {
            dialect: self.dialect,
            mix: self.mix,
            pipeline: self.pipeline,
            multiget: self.multiget,
            replay: self.draws(world),
            awake: true,
            ..Plan::new(target, Arc::clone(world.items(self.about)), Arc::clone(&world.counters))
        }
    }
}

/// The items a server holds, and who is asked for.
pub struct World {
    pub sessions: Arc<Items>,
    pub counters: Arc<Items>,
    absent: Arc<Items>,
    large: Arc<Items>,
    huge: Arc<Items>,
    /// Items drawn for each scenario.
    draws: usize,
}

impl World {
    /// `sessions` items of 100 bytes, a tenth as many counters, some large items; `draws` of them drawn for a scenario.
    pub fn new(sessions: u64, draws: usize) -> World {
        let items = |head: &[u8; 8], count: u64, value_len: usize, skew: f64| {
            let value_len = (value_len, value_len);
            Arc::new(Items::new(Shape { head: *head, count: count.max(1), key_len: KEY_LEN, value_len, skew }))
        };
        World {
            sessions: items(b"session:", sessions, SESSION_LEN, ZIPF_EXPONENT),
            counters: items(b"counter:", sessions / 10, 1, 0.0),
            absent: items(b"absent::", sessions, SESSION_LEN, 0.0),
            large: items(b"big100k:", 400, LARGE_LEN, 0.0),
            huge: items(b"big1mil:", 64, HUGE_LEN, 0.0),
            draws,
        }
    }

    /// What has to be stored on a server, besides small items and counters.
    pub fn stored(&self) -> [&Arc<Items>; 2] {
        [&self.large, &self.huge]
    }

    fn items(&self, about: About) -> &Arc<Items> {
        match about {
            About::Sessions => &self.sessions,
            About::Absent => &self.absent,
            About::Large => &self.large,
            About::Huge => &self.huge,
        }
    }
}

/// The length of all keys, in bytes.
const KEY_LEN: usize = 32;

/// The value length of the small items, in bytes.
const SESSION_LEN: usize = 100;

/// Of the large ones there are as many as make some tens of megabytes, so that they do not stay in a core's own cache.
const LARGE_LEN: usize = 100_000;
const HUGE_LEN: usize = 1_000_000;

/// Items drawn where each costs as much as a thousand small ones.
const LARGE_DRAWS: usize = 400;

/// As the popularity of keys in memcached traffic is usually modelled.
const ZIPF_EXPONENT: f64 = 0.99;

const MANY: usize = 50;
const FEW: usize = 10;
