//! What must hold for every dialect.

mod refusals;
mod routes;
mod streams;
