//! What this machine has.

use std::fs;
use std::path::Path;

use rialto_core::model::{Amounts, Flavor, Milli, Quantities, Range, Ranges, ResourceName, Resources};

/// The ports that are offered unless configured otherwise, as in Mesos.
const PORTS: Range = Range { first: 31000, last: 32000 };
/// Memory and disk that are left to the machine itself, in MiB.
const RESERVED_MEM_MIB: u64 = 1024;
const RESERVED_DISK_MIB: u64 = 5 * 1024;

/// The machine's name; `agent` if it has none.
pub(crate) fn host_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    if name.is_empty() { "agent".to_owned() } else { name }
}

/// What is found, with what `given` says instead, resource by resource.
pub(crate) fn resources(work_dir: &Path, given: &Resources) -> Resources {
    let mut sum = given.clone();
    let mut quantities = Quantities::new();
    for (name, amount) in
        [(ResourceName::Cpus, cpus()), (ResourceName::Mem, memory()), (ResourceName::Disk, disk(work_dir))]
    {
        if given.quantities().get(&name).is_zero() {
            quantities.set(&name, amount);
        }
    }
    sum.add(&Resources::scalars(quantities));
    if given.ranges(&ResourceName::ports()).is_empty() {
        let ranges = [(ResourceName::ports(), Ranges::new([PORTS]))].into();
        sum.add(&Resources::flavored(Flavor::default(), Amounts { ranges, ..Amounts::default() }));
    }
    sum
}

fn cpus() -> Milli {
    Milli::from_whole(std::thread::available_parallelism().map_or(1, |count| count.get() as u64))
}

/// All but a gigabyte; half on a small machine.
fn memory() -> Milli {
    let total_mib =
        fs::read_to_string("/proc/meminfo").ok().and_then(|text| mem_total_mib(&text)).unwrap_or(RESERVED_MEM_MIB);
    Milli::from_whole(leave(total_mib, RESERVED_MEM_MIB))
}

fn mem_total_mib(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib / 1024)
}

fn disk(work_dir: &Path) -> Milli {
    let total_mib =
        rustix::fs::statvfs(work_dir).map_or(0, |stat| (u128::from(stat.f_blocks) * u128::from(stat.f_frsize)) >> 20);
    Milli::from_whole(leave(
        u64::try_from(total_mib).unwrap_or(u64::MAX / 2000).min(Milli::MAX.0 / 1000),
        RESERVED_DISK_MIB,
    ))
}

fn leave(total: u64, reserved: u64) -> u64 {
    if total > 2 * reserved { total - reserved } else { total / 2 }
}

#[cfg(test)]
#[path = "detect_tests.rs"]
mod tests;
