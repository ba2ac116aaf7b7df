//! creditgate: meters AI work in credits, between an assistant and its LLM providers.
//!
//! The modules, in reading order:

pub mod gateway;

pub mod policy;

pub mod provider;

pub mod coding;

pub mod credit;

pub mod ledger;

pub mod directory;

pub mod statement;

pub mod config;

pub mod metrics;

pub mod telemetry;

pub mod server;

pub mod cores;

pub mod sim;

pub mod admin;

pub mod app;

pub mod cli;
