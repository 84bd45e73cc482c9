//! How much of anything is taken from the wire. What has its own limit in core is not repeated here.

use std::time::Duration;

/// The longest duration: ten years. Longer ones are cut when they are sent and refused when they come in.
pub const MAX_DURATION: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// The longest text for people, in bytes.
pub const MAX_TEXT: usize = 4096;
/// The longest name of a resource, attribute, label or kind of device, in bytes.
pub const MAX_NAME: usize = 64;
/// The longest label key, in bytes.
pub const MAX_LABEL_KEY: usize = 256;
/// The most labels on one thing.
pub const MAX_LABELS: usize = 256;
/// The most attributes of one agent or device.
pub const MAX_ATTRIBUTES: usize = 1024;
/// The most parts of a version.
pub const MAX_VERSION_PARTS: usize = 16;
/// The most flavors in one set of resources.
pub const MAX_FLAVORS: usize = 1024;
/// The most named scalars, ranges or sets of one flavor.
pub const MAX_RESOURCE_NAMES: usize = 256;
/// The most intervals or texts under one resource name.
pub const MAX_RESOURCE_ITEMS: usize = 16_384;
/// The largest number in a range; sums over ranges still fit.
pub const MAX_RANGE_NUMBER: u64 = 1 << 48;
/// The most layers of a reservation: as deep as roles may be.
pub const MAX_RESERVATIONS: usize = rialto_core::model::Role::MAX_DEPTH;
/// The most volumes that one message or record names.
pub const MAX_VOLUMES: usize = 65_536;
/// The most devices of one agent.
pub const MAX_DEVICES: usize = 4096;
/// The most tenants of one device: each holds at least a thousandth.
pub const MAX_TENANTS: usize = 1000;
/// The most slices that one message names.
pub const MAX_SLICES: usize = MAX_DEVICES * 16;
/// The most links or nodes of one device.
pub const MAX_DEVICE_LINKS: usize = 1024;
/// The most claims of one task.
pub const MAX_CLAIMS: usize = 64;
/// The most constraints across the devices of a claim.
pub const MAX_CONSTRAINTS: usize = 16;
/// The most bytes that the bodies of one group may have together.
pub const MAX_GROUP_BODY: usize = 16 << 20;
/// The most operations of one accept.
pub const MAX_OPERATIONS: usize = 4096;
/// The most offers that one call or event names.
pub const MAX_OFFERS: usize = 65_536;
/// The most roles of one framework.
pub const MAX_ROLES: usize = 1024;
/// The most tasks that one message names or reports.
pub const MAX_TASKS: usize = 262_144;
/// The most gangs that one agent holds resources for.
pub const MAX_GANGS: usize = 4096;
/// The largest message between a framework and its executor, in bytes.
pub const MAX_MESSAGE: usize = 4 << 20;
/// The most prices that one message names.
pub const MAX_PRICES: usize = rialto_core::model::Prices::MAX;
/// The most capabilities in a hello.
pub const MAX_CAPABILITIES: usize = 64;
