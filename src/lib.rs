//! creditgate: meters AI work in credits, between an assistant and its LLM providers.
//!
//! The modules, in reading order:

pub mod config;
pub mod credit;
pub mod metrics;
pub mod server;
pub mod telemetry;
