//! Writes a configuration as a file that means the same.
//!
//! Each struct is taken apart by name, so that a key which is forgotten here doesn't compile.

use std::fmt::{self, Display, Write};
use std::time::Duration;

use super::{
    Archive, Config, Fallback, FallbackKey, Headers, Limits, Log, Metering, Name, Outage, Pace,
    Plan, Provider, Redis, Refusal, Replicas, SecretSource, SessionGrants, Tasks, Timeouts,
};
use crate::credit::{Price, PriceList, Rule, Unit};

pub(super) fn text(config: &Config) -> String {
    let mut text = String::new();
    write(config, &mut text).expect("writing to a String doesn't fail");
    text
}

fn write(config: &Config, out: &mut String) -> fmt::Result {
    let Config {
        listen,
        public_url,
        admin_listen,
        admin_token,
        ledger,
        redis: servers,
        default_provider,
        log: Log { format, level },
        providers,
        plans,
        prices,
        metering: work,
        tasks: together,
        refusal: answers,
        outage: away,
        headers: shown,
        limits: most,
        archive: kept,
    } = config;
    writeln!(out, "listen = \"{listen}\"")?;
    if let Some(url) = public_url {
        writeln!(out, "public_url = {}", quoted(url))?;
    }
    writeln!(out, "admin_listen = \"{admin_listen}\"")?;
    writeln!(out, "admin_token = {}", source(admin_token))?;
    writeln!(out, "ledger = {}", quoted(ledger))?;
    writeln!(out, "default_provider = \"{default_provider}\"")?;
    redis(servers, out)?;
    writeln!(out, "\n[log]\nformat = \"{}\"\nlevel = \"{}\"", format.as_str(), level.as_str())?;
    providers.iter().try_for_each(|(name, each)| provider(name, each, out))?;
    plans.iter().try_for_each(|(name, each)| plan(name, each, out))?;
    price_list(prices, out)?;
    metering(work, out)?;
    tasks(together, out)?;
    refusal(answers, out)?;
    outage(away, out)?;
    headers(*shown, out)?;
    limits(most, out)?;
    archive(kept, out)
}

fn redis(redis: &Redis, out: &mut String) -> fmt::Result {
    let Redis {
        response_timeout,
        connect_timeout,
        clock,
        replicas,
        replicas_timeout,
        tls_ca,
        sentinel_user,
        sentinel_password,
    } = redis;
    writeln!(out, "\n[redis]")?;
    writeln!(out, "response_timeout = {}", duration(*response_timeout))?;
    writeln!(out, "connect_timeout = {}", duration(*connect_timeout))?;
    writeln!(out, "clock = \"{}\"", clock.as_str())?;
    match replicas {
        Replicas::Auto => writeln!(out, "replicas = \"auto\"")?,
        Replicas::AtLeast(number) => writeln!(out, "replicas = {number}")?,
    }
    writeln!(out, "replicas_timeout = {}", duration(*replicas_timeout))?;
    if let Some(path) = tls_ca {
        writeln!(out, "tls_ca = {}", quoted(path.display()))?;
    }
    if let Some(user) = sentinel_user {
        writeln!(out, "sentinel_user = {}", quoted(user))?;
    }
    let password = sentinel_password.iter();
    password.map(source).try_for_each(|name| writeln!(out, "sentinel_password = {name}"))
}

fn provider(name: &Name, provider: &Provider, out: &mut String) -> fmt::Result {
    let Provider {
        dialect,
        base_url,
        key,
        tenancy,
        shared_ids,
        http2,
        timeouts,
        next_after,
        fallbacks,
    } = provider;
    let Timeouts { connect, header, idle } = timeouts;
    writeln!(out, "\n[provider.{name}]")?;
    writeln!(out, "dialect = \"{}\"", dialect.as_str())?;
    writeln!(out, "base_url = {}", quoted(base_url))?;
    writeln!(out, "key = {}", source_or_none(key.as_ref()))?;
    writeln!(out, "tenancy = \"{}\"", tenancy.as_str())?;
    let shared: Vec<String> = shared_ids.patterns().map(quoted).collect();
    writeln!(out, "shared_ids = [{}]", shared.join(", "))?;
    writeln!(out, "http2 = \"{}\"", http2.as_str())?;
    writeln!(out, "connect_timeout = {}", duration(*connect))?;
    writeln!(out, "header_timeout = {}", duration(*header))?;
    writeln!(out, "idle_timeout = {}", duration(*idle))?;
    if let Some(limit) = next_after {
        writeln!(out, "next_after = {}", duration(*limit))?;
    }
    fallbacks.iter().try_for_each(|each| fallback(name, each, out))
}

fn fallback(name: &Name, fallback: &Fallback, out: &mut String) -> fmt::Result {
    let Fallback { base_url, key } = fallback;
    writeln!(out, "\n[[provider.{name}.fallback]]")?;
    if let Some(base_url) = base_url {
        writeln!(out, "base_url = {}", quoted(base_url))?;
    }
    match key {
        FallbackKey::Same => Ok(()),
        FallbackKey::Own(key) => writeln!(out, "key = {}", source_or_none(key.as_ref())),
    }
}

fn plan(name: &Name, plan: &Plan, out: &mut String) -> fmt::Result {
    let Plan { monthly_credits, pace } = plan;
    let Pace { requests_per_minute, key_requests_per_minute, burst, concurrency, when_exhausted } =
        pace;
    writeln!(out, "\n[plan.{name}]")?;
    writeln!(out, "monthly_credits = \"{monthly_credits}\"")?;
    writeln!(out, "requests_per_minute = {requests_per_minute}")?;
    writeln!(out, "key_requests_per_minute = {key_requests_per_minute}")?;
    writeln!(out, "burst = {burst}")?;
    writeln!(out, "concurrency = {concurrency}")?;
    writeln!(out, "when_exhausted = {}", when_exhausted.status())
}

fn price_list(prices: &PriceList, out: &mut String) -> fmt::Result {
    let PriceList { rules, default } = prices;
    // Also when it is empty: a file without it would get the shipped default price.
    writeln!(out, "\n[price]")?;
    if let Some(default) = default {
        writeln!(out, "\n[price.default]")?;
        price(default, out)?;
    }
    for Rule { provider, operation, model, feature, price: each } in rules {
        writeln!(out, "\n[[price.rule]]")?;
        let globs = [model, feature].map(|glob| glob.as_ref().map(|glob| glob.as_str().to_owned()));
        let [model, feature] = &globs;
        let conditions = [
            ("provider", provider),
            ("operation", operation),
            ("model", model),
            ("feature", feature),
        ];
        for (key, value) in conditions {
            value.iter().try_for_each(|value| writeln!(out, "{key} = {}", quoted(value)))?;
        }
        price(each, out)?;
    }
    Ok(())
}

fn price(price: &Price, out: &mut String) -> fmt::Result {
    let rates = match price {
        Price::PerCall(credits) => return writeln!(out, "credits = \"{credits}\""),
        Price::PerUnit(rates) => rates,
    };
    for unit in Unit::ALL {
        if let Some(credits) = rates.own(unit) {
            writeln!(out, "{} = \"{credits}\"", unit.as_str())?;
        }
    }
    if !rates.minimum.is_zero() {
        writeln!(out, "minimum = \"{}\"", rates.minimum)?;
    }
    rates.max_output_tokens.map_or(Ok(()), |most| writeln!(out, "max_output_tokens = {most}"))
}

fn tasks(tasks: &Tasks, out: &mut String) -> fmt::Result {
    let Tasks { calls, time } = tasks;
    writeln!(out, "\n[tasks]")?;
    writeln!(out, "calls = {calls}")?;
    writeln!(out, "time = {}", duration(*time))
}

fn metering(metering: &Metering, out: &mut String) -> fmt::Result {
    let Metering { on_disconnect, drain_limit, on_exhausted } = metering;
    writeln!(out, "\n[metering]")?;
    writeln!(out, "on_disconnect = \"{}\"", on_disconnect.as_str())?;
    writeln!(out, "drain_limit = {}", duration(*drain_limit))?;
    writeln!(out, "on_exhausted = \"{}\"", on_exhausted.as_str())
}

fn refusal(refusal: &Refusal, out: &mut String) -> fmt::Result {
    let Refusal { top_up_url, unknown_routes, session_grants, administration } = refusal;
    writeln!(out, "\n[refusal]")?;
    writeln!(out, "top_up_url = {}", quoted(top_up_url))?;
    writeln!(out, "unknown_routes = \"{}\"", unknown_routes.as_str())?;
    match session_grants {
        SessionGrants::Refuse => writeln!(out, "session_grants = \"refuse\"")?,
        SessionGrants::Price(credits) => writeln!(out, "session_grants = \"{credits}\"")?,
    }
    writeln!(out, "administration = \"{}\"", administration.as_str())
}

fn outage(outage: &Outage, out: &mut String) -> fmt::Result {
    let Outage { on_outage, allowance, trust_for, journal } = outage;
    writeln!(out, "\n[outage]")?;
    writeln!(out, "on_outage = \"{}\"", on_outage.as_str())?;
    writeln!(out, "allowance = \"{allowance}\"")?;
    writeln!(out, "trust_for = {}", duration(*trust_for))?;
    writeln!(out, "journal = {}", quoted(journal.display()))
}

fn headers(headers: Headers, out: &mut String) -> fmt::Result {
    let Headers { charged, remaining, plan_remaining, purchased_remaining, reset, request_id } =
        headers;
    writeln!(out, "\n[headers]")?;
    writeln!(out, "charged = {charged}")?;
    writeln!(out, "remaining = {remaining}")?;
    writeln!(out, "plan_remaining = {plan_remaining}")?;
    writeln!(out, "purchased_remaining = {purchased_remaining}")?;
    writeln!(out, "reset = {reset}")?;
    writeln!(out, "request_id = {request_id}")
}

fn limits(limits: &Limits, out: &mut String) -> fmt::Result {
    let Limits {
        threads,
        connections,
        in_flight,
        head_bytes,
        head_timeout,
        body_idle_timeout,
        metered_body,
        buffered_bodies,
        socket_idle_timeout,
        hold_ttl,
        drain,
    } = limits;
    writeln!(out, "\n[limits]")?;
    if let Some(threads) = threads {
        writeln!(out, "threads = {threads}")?;
    }
    writeln!(out, "connections = {connections}")?;
    writeln!(out, "in_flight = {in_flight}")?;
    writeln!(out, "head_bytes = {head_bytes}")?;
    writeln!(out, "head_timeout = {}", duration(*head_timeout))?;
    writeln!(out, "body_idle_timeout = {}", duration(*body_idle_timeout))?;
    writeln!(out, "metered_body = {metered_body}")?;
    writeln!(out, "buffered_bodies = {buffered_bodies}")?;
    writeln!(out, "socket_idle_timeout = {}", duration(*socket_idle_timeout))?;
    writeln!(out, "hold_ttl = {}", duration(*hold_ttl))?;
    writeln!(out, "drain = {}", duration(*drain))
}

fn archive(archive: &Archive, out: &mut String) -> fmt::Result {
    let Archive { folder, keep, rotate } = archive;
    writeln!(out, "\n[archive]")?;
    if let Some(folder) = folder {
        writeln!(out, "folder = {}", quoted(folder.display()))?;
    }
    writeln!(out, "keep = {}", duration(*keep))?;
    writeln!(out, "rotate = {rotate}")
}

fn source_or_none(key: Option<&SecretSource>) -> String {
    key.map_or_else(|| "\"none\"".to_owned(), source)
}

fn source(source: &SecretSource) -> String {
    match source {
        SecretSource::Env(name) => format!("{{ env = {} }}", quoted(name)),
        SecretSource::File(path) => format!("{{ file = {} }}", quoted(path.display())),
    }
}

/// In the largest unit that divides it.
fn duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    let units = [(3_600_000, "h"), (60_000, "m"), (1_000, "s")];
    let whole = units.into_iter().find(|(unit, _)| millis.is_multiple_of(*unit));
    let (unit, name) = whole.unwrap_or((1, "ms"));
    format!("\"{}{name}\"", millis / unit)
}

/// A basic string of TOML.
fn quoted(value: impl Display) -> String {
    let mut quoted = String::from('"');
    for character in value.to_string().chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            control if control.is_control() => {
                write!(quoted, "\\u{:04X}", u32::from(control)).expect("a String takes all");
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}
