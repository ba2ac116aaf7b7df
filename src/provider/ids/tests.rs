//! What requests and answers say of things.
