//! What an error says about the step, and about the server.

use ::redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::config::Place;

/// What to do about an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Another server has the slot, or takes it over just now, when it wants to hear that we know (`ASKING`).
    Elsewhere { place: Option<Place>, asking: bool },
    /// The slot is on its way, and its keys are on both sides: ask later.
    TryAgain,
    /// The server can serve nobody now. The step has not begun.
    Closed,
    /// The connection broke: the step may have been carried out.
    Lost,
    /// No reply in time: the step may have been carried out.
    Late,
    /// The server does not have our functions. The step has not begun.
    NoFunction,
    /// The server refuses the step before it begins; others may be carried out.
    Refused,
    /// Nothing for certain.
    Unclear,
}

/// What servers say before a step begins, besides what the client has names for.
const REFUSALS: &[&str] =
    &["OOM", "BUSY", "MISCONF", "NOREPLICAS", "NOAUTH", "WRONGPASS", "NOPERM", "CROSSSLOT"];

/// What servers say, in one letter case or another, of a function that they don't have.
const NO_FUNCTION: &str = "unction not found";

impl Verdict {
    /// Of an error that came from the server at `host`.
    pub(super) fn of(error: &RedisError, host: &str) -> Self {
        let place = || error.redirect_node().and_then(|(place, _)| redirect(place, host));
        match error.kind() {
            ErrorKind::Server(kind) => match kind {
                ServerErrorKind::Moved => Self::Elsewhere { place: place(), asking: false },
                ServerErrorKind::Ask => Self::Elsewhere { place: place(), asking: true },
                ServerErrorKind::TryAgain => Self::TryAgain,
                ServerErrorKind::BusyLoading
                | ServerErrorKind::ClusterDown
                | ServerErrorKind::MasterDown
                | ServerErrorKind::ReadOnly => Self::Closed,
                ServerErrorKind::ResponseError
                    if error.detail().is_some_and(|detail| detail.contains(NO_FUNCTION)) =>
                {
                    Self::NoFunction
                }
                ServerErrorKind::NoPerm | ServerErrorKind::CrossSlot => Self::Refused,
                _ => Self::Unclear,
            },
            ErrorKind::AuthenticationFailed => Self::Closed,
            ErrorKind::Io if error.is_connection_refusal() => Self::Closed,
            ErrorKind::Io if error.is_timeout() => Self::Late,
            ErrorKind::Io => Self::Lost,
            _ if REFUSALS.contains(&error.code().unwrap_or_default()) => Self::Refused,
            _ => Self::Unclear,
        }
    }
}

/// `host:port`, or `:port` for the same host.
fn redirect(text: &str, host: &str) -> Option<Place> {
    let (name, port) = text.rsplit_once(':')?;
    let name = name.trim_matches(['[', ']']);
    let host = if name.is_empty() { host } else { name };
    Some(Place { host: host.to_owned(), port: port.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(reply: &str) -> Verdict {
        let value = ::redis::parse_redis_value(format!("-{reply}\r\n").as_bytes()).unwrap();
        Verdict::of(&value.extract_error().unwrap_err(), "self")
    }

    #[test]
    fn what_came_before_the_step_is_told_from_what_may_have_come_after() {
        let elsewhere = |host: &str, asking| Verdict::Elsewhere {
            place: Some(Place { host: host.into(), port: 7000 }),
            asking,
        };
        for (reply, expected) in [
            ("MOVED 866 a.b:7000", elsewhere("a.b", false)),
            ("MOVED 866 :7000", elsewhere("self", false)),
            ("ASK 866 ::1:7000", elsewhere("::1", true)),
            ("ASK 866 nonsense", Verdict::Elsewhere { place: None, asking: true }),
            ("TRYAGAIN Multiple keys request during rehashing of slot", Verdict::TryAgain),
            ("READONLY You can't write against a read only replica.", Verdict::Closed),
            ("LOADING Redis is loading the dataset in memory", Verdict::Closed),
            ("CLUSTERDOWN The cluster is down", Verdict::Closed),
            ("MASTERDOWN Link with MASTER is down", Verdict::Closed),
            ("NOREPLICAS Not enough good replicas to write.", Verdict::Refused),
            ("OOM command not allowed when used memory > 'maxmemory'.", Verdict::Refused),
            ("MISCONF Errors writing to the AOF file: No space left on device", Verdict::Refused),
            ("BUSY Redis is busy running a script.", Verdict::Refused),
            ("NOAUTH Authentication required.", Verdict::Refused),
            ("NOPERM this user has no permissions", Verdict::Refused),
            ("ERR Function not found", Verdict::NoFunction),
            ("ERR something else", Verdict::Unclear),
            ("UNKILLABLE anything", Verdict::Unclear),
        ] {
            assert_eq!(verdict(reply), expected, "{reply}");
        }
        let io = |kind| Verdict::of(&RedisError::from(std::io::Error::from(kind)), "self");
        assert_eq!(io(std::io::ErrorKind::ConnectionRefused), Verdict::Closed);
        assert_eq!(io(std::io::ErrorKind::TimedOut), Verdict::Late);
        assert_eq!(io(std::io::ErrorKind::BrokenPipe), Verdict::Lost);
        assert_eq!(io(std::io::ErrorKind::UnexpectedEof), Verdict::Lost);
    }
}
