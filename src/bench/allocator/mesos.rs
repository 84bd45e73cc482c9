//! What Apache Mesos takes for the same, measured with its own benchmarks (`docs/performance.md` says how).

use crate::cli::AllocatorShape;

/// Milliseconds that a round, or what the shape does once, takes in Mesos; `None` where it was not measured or did not finish.
pub(super) fn round_ms(shape: AllocatorShape, agents: u32, frameworks: u32) -> Option<f64> {
    let table: &[(u32, u32, f64)] = match shape {
        AllocatorShape::Add => &[
            (1_000, 50, 99.0),
            (1_000, 200, 103.0),
            (5_000, 50, 507.0),
            (10_000, 50, 1_051.0),
            (10_000, 200, 1_201.0),
            (10_000, 1_000, 1_503.0),
            (50_000, 50, 5_529.0),
        ],
        AllocatorShape::Update => &[
            (1_000, 50, 60.0),
            (1_000, 200, 63.0),
            (5_000, 50, 302.0),
            (10_000, 50, 734.0),
            (10_000, 200, 668.0),
            (10_000, 1_000, 957.0),
            (50_000, 50, 3_976.0),
        ],
        AllocatorShape::OfferAll | AllocatorShape::Decline | AllocatorShape::Suppress => {
            &[(1_000, 50, 51.0), (1_000, 200, 49.0), (5_000, 50, 261.0), (10_000, 50, 526.0)]
        }
        AllocatorShape::Quota => &[(200, 200, 7.9), (2_000, 2_000, 251.0), (3_000, 3_000, 26_000.0)],
        AllocatorShape::Volumes => &[(1_000, 50, 60.0), (10_000, 50, 471.0)],
        AllocatorShape::Labels => &[],
    };
    look_up(table, agents, frameworks)
}

/// The same of a round in which nothing changes.
pub(super) fn steady_round_ms(shape: AllocatorShape, agents: u32, frameworks: u32) -> Option<f64> {
    let table: &[(u32, u32, f64)] = match shape {
        AllocatorShape::Suppress => &[(1_000, 50, 4.5), (1_000, 200, 3.7), (5_000, 50, 47.0), (10_000, 50, 39.0)],
        AllocatorShape::Decline => &[(1_000, 50, 375.0), (1_000, 200, 1_850.0)],
        AllocatorShape::Quota => &[(200, 200, 1.0), (2_000, 2_000, 91.0), (3_000, 3_000, 31_200.0)],
        _ => &[],
    };
    look_up(table, agents, frameworks)
}

fn look_up(table: &[(u32, u32, f64)], agents: u32, frameworks: u32) -> Option<f64> {
    table.iter().find(|row| (row.0, row.1) == (agents, frameworks)).map(|row| row.2)
}
