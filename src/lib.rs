//! creditgate: meters AI work in credits, between an assistant and its LLM providers.
//!
//! The modules, in reading order:

pub mod credit;
pub mod gateway;
pub mod provider;
pub mod server;
pub mod sim;
