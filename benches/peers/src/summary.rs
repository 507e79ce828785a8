//! The table for people: what each peer adds to the bare router, in nanoseconds and against the floor of the same run.

use crate::drive::Measured;

const FLOOR: &str = "floor-intake-gzip1-zlib-rs";

/// Per request: the lowest over the runs for times (what disturbs a run only adds to it), their mean for counts.
#[derive(Clone, Copy)]
struct Cost {
    thread_ns: f64,
    process_ns: f64,
    thread_allocs: f64,
    allocs: f64,
    arrived: f64,
}

impl Cost {
    fn of(runs: &[&Measured], peer: &str) -> Option<Self> {
        let runs: Vec<_> = runs.iter().filter(|run| run.peer == peer).collect();
        let least = |field: fn(&Measured) -> f64| runs.iter().map(|run| field(run)).reduce(f64::min);
        let mean = |field: fn(&Measured) -> f64| runs.iter().map(|run| field(run)).sum::<f64>() / runs.len() as f64;
        Some(Self {
            thread_ns: least(|run| run.thread_cpu_ns)?,
            process_ns: least(|run| run.cpu_ns)?,
            thread_allocs: mean(|run| run.thread_allocs),
            allocs: mean(|run| run.allocs),
            arrived: mean(|run| run.events as f64 / run.requests as f64),
        })
    }

    fn above(self, base: Self) -> Self {
        Self {
            thread_ns: self.thread_ns - base.thread_ns,
            process_ns: self.process_ns - base.process_ns,
            thread_allocs: self.thread_allocs - base.thread_allocs,
            allocs: self.allocs - base.allocs,
            arrived: self.arrived,
        }
    }

    fn row(self, name: &str, unit: Option<Self>) {
        let ratio = unit.map_or("–".to_owned(), |unit| {
            format!("{:.2} / {:.2}", self.thread_ns / unit.thread_ns, self.process_ns / unit.process_ns)
        });
        let arrived = if self.arrived > 0.0 { format!("{:.0} %", 100.0 * self.arrived) } else { "–".to_owned() };
        let Self { thread_ns, process_ns, thread_allocs, allocs, .. } = self;
        println!(
            "| {name} | {thread_ns:.0} / {process_ns:.0} | {ratio} | {thread_allocs:.0} / {allocs:.0} | {arrived} |"
        );
    }
}

/// Nothing where `bare` was not run.
pub fn print(runs: &[&Measured], peers: &[&str]) {
    let Some(bare) = Cost::of(runs, "bare") else { return };
    let above = |peer: &str| Cost::of(runs, peer).map(|cost| cost.above(bare));
    let floor = above(FLOOR);
    println!("Above `bare` ({:.0} ns):\n", bare.thread_ns);
    println!("| | request thread / process, ns | × floor | allocations, thread / all | arrived |");
    println!("|---|--:|--:|--:|--:|");
    for peer in peers.iter().filter(|peer| **peer != "bare" && !peer.ends_with("-child")) {
        if let Some(cost) = above(peer) {
            cost.row(peer, floor);
        }
    }
    let child = |ours: &str| {
        let without = Cost::of(runs, &format!("{ours}-no-child"))?;
        Some(Cost::of(runs, &format!("{ours}-child"))?.above(without))
    };
    let through_sdk = child("sdk");
    if let (Some(ours), Some(through_sdk)) = (child("tower-apm"), through_sdk) {
        println!("\nOne child span more (ratios to the SDK's):\n");
        println!("| | request thread / process, ns | × SDK | allocations, thread / all | arrived |");
        println!("|---|--:|--:|--:|--:|");
        through_sdk.row("through the SDK", None);
        ours.row("tower-apm", Some(through_sdk));
    }
    println!();
}
