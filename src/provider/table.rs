//! A dialect's table of routes: look-up by method and exact segments.
//!
//! The tables themselves are text files beside the dialects, in the words of [`super::routes`]. Knows no price.

use http::Method;
use matchit::Router;

use super::{Class, Dialect, Evidence, ModelAt, Operation, Path, Route};

/// All routes of one dialect.
pub(super) struct Table {
    language: Dialect,
    routers: Vec<Routes>,
    /// Where the provider's administration begins: what is not listed there is no unknown read.
    administration: &'static [&'static str],
}

/// The routes of one method and one verb.
struct Routes {
    method: &'static str,
    /// What stands after the last colon of a path in Google's style, such as `generateContent`; else nothing.
    verb: &'static str,
    router: Router<Route>,
}

/// The pattern of what no table lists.
const UNLISTED: &str = "unknown";

/// A GET that asks for a WebSocket is looked up under this name.
const UPGRADE: &str = "UPGRADE";

/// The methods that `*` stands for.
const ANY_METHOD: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];

impl Table {
    /// Reads a table that is part of the program. Each line has the words `method class operation model path`, and
    /// perhaps the language of the route's bodies, where it is not `language`. `*` is any method. `@openai /beginning`
    /// adds all routes of another table below a beginning that stands for its `/v1`, but for those that are listed
    /// already; a third word is their language. `#` begins a comment.
    ///
    /// # Panics
    ///
    /// On any fault in the text, which the tests would show first.
    pub(super) fn parse(language: Dialect, text: &'static str) -> Self {
        let mut table = Self { language, routers: Vec::new(), administration: &[] };
        for line in lines(text) {
            let added = match line.strip_prefix('@') {
                Some(include) => table.include(include),
                None => table.add(language, line),
            };
            if let Err(fault) = added {
                panic!("the embedded table of {language} has a fault at `{line}`: {fault}");
            }
        }
        table
    }

    /// The same, with all from these `beginnings` on for administration.
    pub(super) fn with_administration(self, beginnings: &'static [&'static str]) -> Self {
        Self { administration: beginnings, ..self }
    }

    /// See [`super::Dialect::route`].
    pub(super) fn find(&self, method: &Method, upgrade: bool, path: &Path) -> Route {
        let method = match method.as_str() {
            _ if upgrade => UPGRADE,
            "HEAD" => "GET",
            method => method,
        };
        let path = path.as_str();
        let (before, verb) = split_verb(path);
        let at = |verb: &str, path: &str| {
            self.router(method, verb)?.at(path).ok().map(|found| *found.value)
        };
        let found = (!verb.is_empty()).then(|| at(verb, before)).flatten();
        let found = found.or_else(|| {
            // A verb that is not listed must not pass as the name of one of many things that are free.
            let hides = method == "POST" && !verb.is_empty() && self.has_verbs();
            at("", path).filter(|route| !hides || !route.pattern.contains("{*"))
        });
        found.unwrap_or_else(|| self.unknown(upgrade, path))
    }

    /// What a method with this plain `path` is, if the table lists it.
    pub(super) fn listed(&self, method: &str, path: &str) -> Option<Route> {
        self.router(method, "")?.at(path).ok().map(|found| *found.value)
    }

    fn has_verbs(&self) -> bool {
        self.routers.iter().any(|routes| !routes.verb.is_empty())
    }

    fn unknown(&self, upgrade: bool, path: &str) -> Route {
        let language = self.language;
        if upgrade {
            return Route {
                class: Class::Realtime,
                operation: Operation::Realtime,
                model: ModelAt::Query("model"),
                pattern: UNLISTED,
                language,
            };
        }
        let administers = |beginning: &&&'static str| {
            let rest = path.strip_prefix(**beginning);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let administration = self.administration.iter().find(administers).copied();
        let (class, pattern) = match administration {
            Some(beginning) => (Class::Administration, beginning),
            None => (Class::Unknown, UNLISTED),
        };
        Route { class, operation: Operation::Other, model: ModelAt::Absent, pattern, language }
    }

    fn router(&self, method: &str, verb: &str) -> Option<&Router<Route>> {
        let routes = self.routers.iter().find(|one| one.method == method && one.verb == verb);
        routes.map(|routes| &routes.router)
    }

    fn add(&mut self, language: Dialect, line: &'static str) -> anyhow::Result<()> {
        for (method, route) in row(language, line)? {
            self.insert(method, route)?;
        }
        Ok(())
    }

    fn include(&mut self, include: &str) -> anyhow::Result<()> {
        let mut words = include.split_ascii_whitespace();
        let mut word = || words.next().ok_or_else(|| anyhow::anyhow!("a word is missing"));
        let (of, beginning): (Dialect, _) = (word()?.parse()?, word()?);
        let language = words.next().map_or(Ok(of), str::parse)?;
        for line in lines(of.rules().table) {
            for (method, route) in row(language, line)? {
                let rest = route.pattern.strip_prefix("/v1").unwrap_or(route.pattern);
                // Once for each table, when it is first used.
                let pattern = Box::leak(format!("{beginning}{rest}").into_boxed_str());
                match self.insert(method, Route { pattern, ..route }) {
                    Ok(()) | Err(matchit::InsertError::Conflict { .. }) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(())
    }

    fn insert(&mut self, method: &'static str, route: Route) -> Result<(), matchit::InsertError> {
        let (before, verb) = split_verb(route.pattern);
        let known = self.routers.iter().position(|one| one.method == method && one.verb == verb);
        let at = known.unwrap_or_else(|| {
            self.routers.push(Routes { method, verb, router: Router::new() });
            self.routers.len() - 1
        });
        self.routers[at].router.insert(by_position(before), route)
    }
}

/// The lines of a table that say something.
fn lines(text: &'static str) -> impl Iterator<Item = &'static str> {
    text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'))
}

/// The routes of one line, which are several if it is for any method.
fn row(
    language: Dialect,
    line: &'static str,
) -> anyhow::Result<impl Iterator<Item = (&'static str, Route)>> {
    let mut words = line.split_ascii_whitespace();
    let mut word = || words.next().ok_or_else(|| anyhow::anyhow!("a word is missing"));
    let method = word()?;
    let (class, operation, model) = (word()?.parse()?, word()?.parse()?, model_at(word()?)?);
    let pattern = word()?;
    let language = words.next().map_or(Ok(language), str::parse)?;
    anyhow::ensure!(words.next().is_none(), "a word too many");
    anyhow::ensure!(method != "HEAD", "HEAD is looked up as GET");
    let named = model_position(pattern).is_some();
    anyhow::ensure!(named || model != ModelAt::Path, "no `{{model}}` in the path");
    let route = Route { class, operation, model, pattern, language };
    let several = if method == "*" { &ANY_METHOD[..] } else { &[] };
    let one = if method == "*" { None } else { Some(method) };
    Ok(several.iter().copied().chain(one).map(move |method| (method, route)))
}

/// What stands before and after the last colon of the last segment, if it is a verb.
pub(super) fn split_verb(path: &str) -> (&str, &str) {
    let last = path.rfind('/').map_or(0, |slash| slash + 1);
    match path[last..].rfind(':') {
        Some(colon) => (&path[..last + colon], &path[last + colon + 1..]),
        None => (path, ""),
    }
}

/// The place of the segment that names the model, and whether it is all that follows.
fn model_position(pattern: &str) -> Option<(usize, bool)> {
    let (before, _) = split_verb(pattern);
    before.split('/').enumerate().find_map(|(at, segment)| match segment {
        "{model}" => Some((at, false)),
        "{*model}" => Some((at, true)),
        _ => None,
    })
}

impl Route {
    /// Looks for output in its answer of this content type.
    pub fn evidence(&self, content_type: Option<&str>) -> Evidence {
        if self.is_listed() {
            Evidence::for_response(self.language, content_type)
        } else {
            Evidence::unreadable(self.language)
        }
    }

    /// Whether the table knows it.
    pub fn is_listed(&self) -> bool {
        self.pattern != UNLISTED
    }

    /// The model that `path` names, still escaped, where it is [`ModelAt::Path`].
    pub fn model_in<'p>(&self, path: &'p Path) -> Option<&'p str> {
        let (at, all) = model_position(self.pattern).filter(|_| self.model == ModelAt::Path)?;
        let (_, verb) = split_verb(self.pattern);
        let path = path.as_str();
        let path = if verb.is_empty() { path } else { split_verb(path).0 };
        let rest = path.splitn(at + 1, '/').nth(at)?;
        Some(if all { rest } else { rest.split('/').next()? })
    }
}

fn model_at(word: &str) -> anyhow::Result<ModelAt> {
    Ok(match word {
        "json" => ModelAt::Json,
        "json?" => ModelAt::JsonOptional,
        "form" => ModelAt::Multipart,
        "json/form" => ModelAt::JsonOrMultipart,
        "query" => ModelAt::Query("model"),
        "deployment" => ModelAt::Query("deployment"),
        "path" => ModelAt::Path,
        "json+" => ModelAt::JsonSeveral,
        "batch" => ModelAt::Batch,
        "-" => ModelAt::Absent,
        _ => anyhow::bail!("`{word}` is no place of a model"),
    })
}

/// Renames parameters by their position: the router wants one name for one place in the tree.
fn by_position(pattern: &str) -> String {
    let name = |(position, segment): (usize, &str)| {
        if segment.starts_with("{*") {
            format!("{{*p{position}}}")
        } else if segment.starts_with('{') {
            format!("{{p{position}}}")
        } else {
            segment.to_owned()
        }
    };
    pattern.split('/').enumerate().map(name).collect::<Vec<_>>().join("/")
}
