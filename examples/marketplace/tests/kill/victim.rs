//! The servers and processes that a round kills.

use std::{fmt, time::Duration};

use crate::{
    random::Random,
    support::deployment::{Database, Deployment},
};

/// A server or a process that can be killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Victim {
    Redis,
    Kafka,
    Database(&'static str),
    Api(usize),
    History(usize),
}

/// One round: the victims are killed after `delay`, and started again after a further `pause`.
#[derive(Debug, Clone)]
pub(crate) struct Round {
    pub(crate) victims: Vec<Victim>,
    /// An API that is suspended until the other API has rebuilt the balances. Its requests then continue in an epoch
    /// that has ended.
    pub(crate) suspended: Option<usize>,
    pub(crate) delay: Duration,
    pub(crate) pause: Duration,
    /// Whether the next round begins only after changes were accepted again.
    pub(crate) waits: bool,
}

/// Kafka takes seconds to start, so only one of this many rounds kills it.
const KAFKA_EVERY: u64 = 15;
/// One of this many rounds suspends an API while the balances are lost.
const SUSPEND_EVERY: u64 = 8;

impl Round {
    /// Chooses the victims and the times of a round.
    pub(crate) fn choose(number: u64, database: Database, random: &mut Random) -> Self {
        let (delay, pause, waits) = (random.millis(250), random.millis(200), random.chance(75));
        if number % SUSPEND_EVERY == 3 {
            return Self { victims: vec![Victim::Redis], suspended: Some(random.index(2)), delay, pause, waits };
        }
        let count = if random.chance(15) { 2 + random.index(2) } else { 1 };
        let mut victims = Vec::new();
        if number % KAFKA_EVERY == 5 {
            victims.push(Victim::Kafka);
        }
        while victims.len() < count {
            let victim = match random.below(10) {
                0..3 => Victim::Redis,
                3..5 => Victim::Database(database.server()),
                5..8 => Victim::Api(random.index(2)),
                _ => Victim::History(random.index(2)),
            };
            if !victims.contains(&victim) {
                victims.push(victim);
            }
        }
        Self { victims, suspended: None, delay, pause, waits }
    }

    pub(crate) fn kill(&self, deployment: &mut Deployment) {
        if let Some(api) = self.suspended {
            deployment.apis[api].suspend();
        }
        for victim in &self.victims {
            match victim {
                Victim::Api(number) => deployment.apis[*number].kill(),
                Victim::History(number) => deployment.histories[*number].kill(),
                server => deployment.parts.kill(server.server()),
            }
        }
    }

    pub(crate) fn restart(&self, deployment: &mut Deployment) {
        let mut servers = Vec::new();
        for victim in &self.victims {
            match victim {
                Victim::Api(number) => deployment.apis[*number].restart(),
                Victim::History(number) => deployment.histories[*number].restart(),
                server => servers.push(server.server()),
            }
        }
        if !servers.is_empty() {
            deployment.parts.restart(&servers);
        }
    }
}

impl Victim {
    fn server(self) -> &'static str {
        match self {
            Self::Redis => "redis",
            Self::Kafka => "kafka",
            Self::Database(server) => server,
            Self::Api(_) | Self::History(_) => unreachable!("processes are not servers"),
        }
    }
}

impl fmt::Display for Victim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Api(number) => write!(f, "api-{}", number + 1),
            Self::History(number) => write!(f, "history-{}", number + 1),
            server => f.write_str(server.server()),
        }
    }
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let victims: Vec<String> = self.victims.iter().map(ToString::to_string).collect();
        write!(f, "{} killed after {:.1?}, down for {:.1?}", victims.join(" and "), self.delay, self.pause)?;
        self.suspended.map_or(Ok(()), |api| write!(f, ", api-{} suspended", api + 1))
    }
}
