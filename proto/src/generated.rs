//! The wire types, generated from the `.proto` files; `tests/fresh.rs` keeps them true. Their packages are their modules.

/// The packages below `rialto`.
pub mod rialto {
    /// The native protocol, package `rialto.v1`.
    pub mod v1 {
        include!("gen/rialto.v1.rs");
    }
    /// The registry's values.
    pub mod registry {
        /// Package `rialto.registry.v1`.
        pub mod v1 {
            include!("gen/rialto.registry.v1.rs");
        }
    }
    /// What plug-ins for devices serve.
    pub mod device {
        /// Package `rialto.device.v1`.
        pub mod v1 {
            include!("gen/rialto.device.v1.rs");
        }
    }
    /// The agent's journal.
    pub mod journal {
        /// Package `rialto.journal.v1`.
        pub mod v1 {
            include!("gen/rialto.journal.v1.rs");
        }
    }
}
