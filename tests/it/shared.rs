//! Many gateways on one Redis server let through what the credits allow, no call more and none less, whatever becomes
//! of a gateway, of the server, or of the network between them.

mod exact;
mod kills;
mod load;
mod network;
mod reckoning;
mod server;
