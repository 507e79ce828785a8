//! Kills servers and processes of the marketplace while clients send requests, and checks that all data agrees.
//!
//! The tests start PostgreSQL or MariaDB, Redis and Kafka with `scripts/real-parts.sh`, two APIs, two processes of the
//! history, and a chain. Each round kills one to three of them with SIGKILL at a random time, and starts them again. Redis
//! starts without data. Some rounds suspend an API while the other one rebuilds the balances. After every 40 rounds the
//! clients stop, and everything must agree: the clients' answers, the history, the balances, the listings and the
//! chain.
//!
//! ```sh
//! cargo test -p marketplace --features postgres,mysql,kafka --test kill -- --ignored --nocapture
//! ```
//!
//! | variable | content | default |
//! |---|---|---|
//! | `KILL_ROUNDS` | rounds of both tests together; one fifth of them use MariaDB | 200 |
//! | `KILL_SEED` | seed of the random choices | a random number |
//!
//! The same seed results in the same choices, but not in the same interleaving of requests and kills.

mod change;
mod customer;
mod invariants;
mod ledger;
mod load;
mod random;
mod state;
#[path = "../support/mod.rs"]
mod support;
mod trader;
mod victim;

use std::{
    env,
    fmt::Write as _,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{sync::Mutex, time::timeout};

use self::{
    ledger::Ledger,
    load::Clients,
    random::Random,
    state::State,
    support::{
        deployment::{Database, Deployment},
        http::Client,
    },
    victim::Round,
};

/// The rounds between two comparisons.
const ROUNDS_PER_CHECK: u64 = 40;
/// How long it can take until everything agrees after the clients have stopped.
const SETTLED_WITHIN: Duration = Duration::from_secs(60);
/// How many changes are accepted between most rounds.
const CHANGES_PER_ROUND: u64 = 5;
/// How long it can take until changes are accepted after the victims were started again.
const WORKS_WITHIN: Duration = Duration::from_secs(60);
/// How long one round can take on average.
const TIME_PER_ROUND: Duration = Duration::from_secs(3);
/// How long the start and the last comparison can take.
const TIME_FOR_START: Duration = Duration::from_secs(180);

/// The tests use all cores, so they do not run at the same time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "starts servers with scripts/real-parts.sh and takes minutes"]
async fn nothing_is_lost_or_made_twice_with_postgres() {
    run("kill-postgres", Database::Postgres, rounds() - rounds() / 5).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "starts servers with scripts/real-parts.sh and takes minutes"]
async fn nothing_is_lost_or_made_twice_with_mariadb() {
    run("kill-mariadb", Database::MariaDb, rounds() / 5).await;
}

fn rounds() -> u64 {
    env::var("KILL_ROUNDS").map_or(200, |rounds| rounds.parse().expect("KILL_ROUNDS is a number"))
}

fn seed() -> u64 {
    match env::var("KILL_SEED") {
        Ok(seed) => seed.parse().expect("KILL_SEED is a number"),
        Err(_) => uuid::Uuid::new_v4().as_u64_pair().0,
    }
}

async fn run(name: &str, database: Database, rounds: u64) {
    let _alone = ONE_AT_A_TIME.lock().await;
    let seed = seed();
    println!("{name}: {rounds} rounds, KILL_SEED={seed}");
    let started = Instant::now();
    let deployment = Deployment::start(name, database, 2).await;
    let client = Client::new(deployment.addresses());
    let mut test = KillTest { name, seed, database, deployment, client, ledger: Arc::new(Ledger::new()), round: 0 };
    println!("{name}: started after {:.1} s", started.elapsed().as_secs_f64());
    let limit = TIME_FOR_START + TIME_PER_ROUND * u32::try_from(rounds).unwrap_or(u32::MAX);
    if timeout(limit, test.kill(rounds)).await.is_err() {
        test.fail(&[format!("not finished after {limit:?}")]);
    }
    println!("{name}: {:.0} s, {:?}", started.elapsed().as_secs_f64(), test.ledger.counts());
}

struct KillTest<'a> {
    name: &'a str,
    seed: u64,
    database: Database,
    deployment: Deployment,
    client: Client,
    ledger: Arc<Ledger>,
    round: u64,
}

impl KillTest<'_> {
    async fn kill(&mut self, rounds: u64) {
        let mut random = Random::new(self.seed);
        let mut clients = Clients::new(&mut random);
        while self.round < rounds {
            let users = clients.users.clone();
            let load = clients.start(&self.client, &self.ledger);
            let end = rounds.min(self.round + ROUNDS_PER_CHECK);
            while self.round < end {
                self.round += 1;
                self.run_round(&mut random).await;
            }
            clients = load.stop().await;
            self.compare(&users).await;
        }
        // The history and the log are the source of truth: without Redis's data, everything must still agree.
        self.deployment.parts.kill("redis");
        self.deployment.parts.restart(&["redis"]);
        self.deployment.wait_until_ready(&self.client).await;
        self.compare(&clients.users).await;
    }

    async fn run_round(&mut self, random: &mut Random) {
        let round = Round::choose(self.round, self.database, random);
        tokio::time::sleep(round.delay).await;
        round.kill(&mut self.deployment);
        tokio::time::sleep(round.pause).await;
        let killed = Instant::now();
        round.restart(&mut self.deployment);
        let started = killed.elapsed();
        if let Some(api) = round.suspended {
            self.deployment.wait_until_api_is_ready(&self.client, 1 - api).await;
            self.deployment.apis[api].resume();
        }
        let restarted = Instant::now();
        let accepted = self.ledger.accepted();
        // A kill interrupts changes only if there are changes in progress.
        while round.waits
            && self.ledger.accepted() < accepted + CHANGES_PER_ROUND
            && self.ledger.violations().is_empty()
        {
            if restarted.elapsed() > WORKS_WITHIN {
                self.fail(&[format!("{CHANGES_PER_ROUND} changes were not accepted within {WORKS_WITHIN:?}")]);
            }
            self.restart_ended();
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        println!(
            "{}: round {}: {round}, started within {started:.1?}, works after {:.1?}",
            self.name,
            self.round,
            restarted.elapsed()
        );
        let violations = self.ledger.violations();
        if !violations.is_empty() {
            self.fail(&violations);
        }
    }

    fn restart_ended(&mut self) {
        for ended in self.deployment.restart_ended() {
            self.ledger.count("processes that ended on their own");
            println!("{}: {ended}", self.name);
        }
    }

    /// Waits until everything agrees.
    async fn compare(&mut self, users: &[String]) {
        let started = Instant::now();
        loop {
            self.restart_ended();
            let problems = match State::read(&self.deployment, &self.client, users).await {
                Ok(state) => invariants::check(&state, &self.ledger),
                Err(error) => vec![error],
            };
            let violations = self.ledger.violations();
            if !violations.is_empty() {
                self.fail(&violations);
            }
            if problems.is_empty() {
                break;
            }
            if started.elapsed() > SETTLED_WITHIN {
                self.fail(&problems);
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        let counts = self.ledger.counts();
        println!("{}: everything agrees after {:?}: {counts:?}", self.name, started.elapsed());
    }

    /// Fails with a report.
    fn fail(&mut self, problems: &[String]) -> ! {
        let (name, round, seed) = (self.name, self.round, self.seed);
        let mut report = format!("{name}: round {round}, KILL_SEED={seed}, {} problems\n", problems.len());
        for problem in problems.iter().take(20) {
            let _ = writeln!(report, "- {problem}");
        }
        let _ = write!(report, "{}", self.deployment.logs(15));
        panic!("{report}");
    }
}
