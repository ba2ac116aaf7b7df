//! However a call ends, it costs what was promised, its hold is resolved, and the provider is not left working
//! for nobody.

mod broken;
mod drain;
mod left;
