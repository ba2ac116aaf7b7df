//! The path that is classified is the path that is sent.

use std::path::Path as File;
use std::sync::LazyLock;

use creditgate::config::Config;
use creditgate::policy::{self, Asked};
use creditgate::provider::{Dialect, Path, Spelled};
use http::Method;

/// A provider of each dialect, named as the dialect is.
static CONFIG: LazyLock<Config> = LazyLock::new(|| {
    let providers = Dialect::ALL.map(|dialect| {
        format!("[provider.{dialect}]\ndialect = '{dialect}'\nbase_url = 'http://x.test'\nkey = 'none'\n")
    });
    let text = providers.concat() + "[price.default]\ncredits = 1\n";
    Config::parse(&text, File::new("test.toml"), &|_| None).expect("it is a configuration")
});

/// `bytes` are `METHOD PATH`.
pub fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (method, raw) = text.split_once(' ').unwrap_or(("POST", text));
    let Ok(method) = Method::from_bytes(method.as_bytes()) else { return };
    for dialect in Dialect::ALL {
        if let Ok(path) = dialect.normalise(&method, raw) {
            check_canonical(dialect, &method, &path);
        }
    }
    for hint in [None, Some(Dialect::Anthropic), Some(Dialect::Gemini)] {
        let asked = Asked { method: &method, upgrade: false, hint, path: raw };
        let Ok(place) = policy::place(&CONFIG, asked) else { continue };
        // Sent to the provider by its name, the same path is the same thing; and so it is by the provider's own table.
        let named = format!("/{}{}", place.provider, place.path);
        let again = policy::place(&CONFIG, Asked { hint: None, path: &named, ..asked });
        let again = again.unwrap_or_else(|error| panic!("{method} {raw} is {named}: {error}"));
        assert_eq!(
            (&place.provider, &place.path),
            (&again.provider, &again.path),
            "{method} {raw}"
        );
        assert_eq!(place.route, again.route, "{method} {raw}");
        let dialect = CONFIG.providers[place.provider].dialect;
        assert_eq!(place.route, dialect.route(&method, false, &place.path), "{method} {raw}");
        check_canonical(dialect, &method, &place.path);
        check_sent(dialect, &method, &place.path);
    }
}

fn check_canonical(dialect: Dialect, method: &Method, path: &Path) {
    let text = path.as_str();
    let again = dialect.normalise(method, text);
    assert_eq!(again.as_ref(), Ok(path), "{dialect}: the canonical {text} is not its own spelling");
    assert!(text.starts_with('/') && !text.contains("//"), "{dialect}: {text}");
    assert!(
        text.is_ascii() && text.bytes().all(|byte| byte.is_ascii_graphic()),
        "{dialect}: {text}"
    );
    assert!(!text.contains(['?', '#', '\\', '"', '<', '>']), "{dialect}: {text}");
    assert!(text == "/" || !text.ends_with('/'), "{dialect}: {text}");
    let upper = text.to_ascii_uppercase();
    for hidden in ["%5C", "%2E", "%3A", "%00", "%0A", "%0D", "%252F", "%252E"] {
        assert!(!upper.contains(hidden), "{dialect}: {text}");
    }
    // What a server sees that decodes before it splits.
    for segment in text.split('/').flat_map(|segment| segment.split("%2F")) {
        assert!(!matches!(segment, "." | ".."), "{dialect}: {text}");
    }
    if upper.contains("%2F") {
        let route = dialect.route(method, false, path);
        let in_a_name =
            route.pattern.contains('{') || *method == Method::GET || *method == Method::HEAD;
        assert!(in_a_name || dialect == Dialect::Bedrock, "{dialect}: {text} is {}", route.pattern);
    }
    let spelled = Spelled::read(text).expect("it was read before");
    assert_eq!(spelled.segments().expect("it has no dots").join("/"), text.trim_start_matches('/'));
}

/// What the provider gets is what was classified, below whichever base URL.
fn check_sent(dialect: Dialect, method: &Method, path: &Path) {
    for base in ["", "/v1", "/openai/v1", "/v1beta"] {
        let sent = dialect.below(base, path);
        assert!(sent.starts_with(base), "{dialect}: {sent}");
        assert!(!sent.contains("//"), "{dialect}: {sent}");
        assert!(
            path.as_str().ends_with(sent.strip_prefix(base).unwrap_or(&sent)),
            "{dialect}: {sent}"
        );
    }
    let route = dialect.route(method, false, path);
    if let Some(model) = route.model_in(path) {
        assert!(path.as_str().contains(model) && !model.is_empty(), "{dialect}: {path}");
    }
}
