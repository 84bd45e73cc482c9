//! Jobs by how much they ask for.

/// How much a job asks for, all tasks of a gang together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SizeClass {
    /// No GPU, where GPUs are counted.
    NoGpu,
    /// A part of a GPU.
    PartOfGpu,
    /// One GPU.
    OneGpu,
    /// More than one and fewer than eight.
    SomeGpus,
    /// Eight.
    EightGpus,
    /// More than eight.
    ManyGpus,
    /// At most a core, where cores are counted.
    OneCore,
    /// At most eight cores.
    SomeCores,
    /// At most 64 cores.
    ManyCores,
    /// More cores.
    MoreCores,
}

impl SizeClass {
    /// For people.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoGpu => "no GPU",
            Self::PartOfGpu => "part of a GPU",
            Self::OneGpu => "1 GPU",
            Self::SomeGpus => "2 to 7 GPUs",
            Self::EightGpus => "8 GPUs",
            Self::ManyGpus => "more than 8 GPUs",
            Self::OneCore => "1 core at most",
            Self::SomeCores => "2 to 8 cores",
            Self::ManyCores => "9 to 64 cores",
            Self::MoreCores => "more than 64 cores",
        }
    }

    pub(super) fn of(size: f64, counts_gpus: bool) -> Self {
        if counts_gpus {
            match size {
                size if size <= 0.0 => Self::NoGpu,
                size if size < 1.0 => Self::PartOfGpu,
                size if size <= 1.0 => Self::OneGpu,
                size if size < 8.0 => Self::SomeGpus,
                size if size <= 8.0 => Self::EightGpus,
                _ => Self::ManyGpus,
            }
        } else {
            match size {
                size if size <= 1.0 => Self::OneCore,
                size if size <= 8.0 => Self::SomeCores,
                size if size <= 64.0 => Self::ManyCores,
                _ => Self::MoreCores,
            }
        }
    }
}
