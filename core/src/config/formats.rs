//! How configuration files are read, for programs that read others beside the project's own: JSON without repeated names and
//! within limits, JSON as programs in Go read it, and YAML.

/// JSON of bounded size and depth, without repeated names.
pub mod json {
    pub use crate::json::{JsonError, Limits, Value, from_slice, go, parse};
}

/// YAML, as far as configuration files use it.
#[cfg(feature = "registry")]
pub mod yaml {
    pub use crate::yaml::{YamlError, document, documents};
}
