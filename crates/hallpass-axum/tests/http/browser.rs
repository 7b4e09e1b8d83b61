//! A client that treats cookies as a strict browser does, and looks at every answer for what must never be there.

use std::net::SocketAddr;

use reqwest::header::{COOKIE, HeaderMap, HeaderName, HeaderValue, ORIGIN, SET_COOKIE};
use reqwest::{Method, redirect};
use serde_json::Value;

pub(crate) struct Browser {
    client: reqwest::Client,
    base: String,
    origin: String,
    cookie_name: &'static str,
    /// The value of our cookie.
    pub(crate) cookie: Option<String>,
    pub(crate) user_agent: String,
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
    /// What the answer did to our cookie: nothing, a new value, or removal.
    pub(crate) cookie: Option<SetCookie>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SetCookie {
    /// Empty when it removes.
    pub(crate) value: String,
    pub(crate) max_age: Option<i64>,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let first = values.next().map(|value| value.to_str().unwrap());
        assert!(values.next().is_none() || name == "vary", "{name} twice");
        first
    }

    pub(crate) fn removes_cookie(&self) -> bool {
        self.cookie.as_ref().is_some_and(|cookie| cookie.value.is_empty())
    }
}

impl Browser {
    pub(crate) fn new(address: SocketAddr, origin: &str, cookie_name: &'static str) -> Self {
        let client = reqwest::Client::builder().redirect(redirect::Policy::none()).no_proxy().build().unwrap();
        Self {
            client,
            base: format!("http://{address}"),
            origin: origin.to_owned(),
            cookie_name,
            cookie: None,
            user_agent: "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0".into(),
        }
    }

    /// The same connection pool with a jar of its own.
    pub(crate) fn another(&self) -> Self {
        Self {
            client: self.client.clone(),
            base: self.base.clone(),
            origin: self.origin.clone(),
            cookie_name: self.cookie_name,
            cookie: None,
            user_agent: self.user_agent.clone(),
        }
    }

    /// As another browser that holds the same cookie: a stolen copy, a second tab.
    pub(crate) fn copy(&self) -> Self {
        Self { cookie: self.cookie.clone(), ..self.another() }
    }

    pub(crate) fn token(&self) -> &str {
        self.cookie.as_deref().expect("no cookie")
    }

    pub(crate) async fn get(&mut self, path: &str) -> Answer {
        self.send("GET", path, &[], "").await
    }

    pub(crate) async fn post(&mut self, path: &str, body: &str) -> Answer {
        self.send("POST", path, &[("content-type", "application/x-www-form-urlencoded")], body).await
    }

    pub(crate) async fn delete_json(&mut self, path: &str, body: &str) -> Answer {
        self.send("DELETE", path, &[("content-type", "application/json")], body).await
    }

    /// A link followed or typed: what a browser sends for it.
    pub(crate) async fn navigate(&mut self, path: &str) -> Answer {
        self.send("GET", path, &[("accept", "text/html"), ("sec-fetch-mode", "navigate")], "").await
    }

    pub(crate) async fn me(&mut self) -> Answer {
        self.get("/me").await
    }

    /// Sends our cookie, and `Origin` with unsafe methods, unless the headers say otherwise.
    pub(crate) async fn send(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap());
        }
        if let Some(cookie) = &self.cookie
            && !map.contains_key(COOKIE)
        {
            map.append(COOKIE, HeaderValue::from_str(&format!("{}={cookie}", self.cookie_name)).unwrap());
        }
        let says_where = map.contains_key(ORIGIN) || map.contains_key("sec-fetch-site");
        if !matches!(method, "GET" | "HEAD" | "OPTIONS") && !says_where {
            map.append(ORIGIN, HeaderValue::from_str(&self.origin).unwrap());
        }
        // "-" stands for: do not send it.
        let absent: Vec<_> = map.iter().filter(|(_, value)| *value == "-").map(|(name, _)| name.clone()).collect();
        for name in absent {
            map.remove(name);
        }
        let response = self
            .client
            .request(Method::from_bytes(method.as_bytes()).unwrap(), format!("{}{path}", self.base))
            .header("user-agent", &self.user_agent)
            .headers(map)
            .body(body.to_owned())
            .send()
            .await
            .unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = response.text().await.unwrap();
        let cookies: Vec<_> = headers.get_all(SET_COOKIE).iter().collect();
        assert!(cookies.len() <= 1, "{cookies:?}");
        let cookie = cookies.first().map(|value| self.strict_set_cookie(value.to_str().unwrap()));
        if let Some(SetCookie { value, .. }) = &cookie {
            self.cookie = (!value.is_empty()).then(|| value.clone());
            let caching = headers["cache-control"].to_str().unwrap().to_ascii_lowercase();
            assert!(caching.contains("no-store"), "A26: an answer that sets a cookie is nobody else's: {caching}");
        }
        assert!(!body.contains("hp_"), "a token in a body: {path}");
        assert!(
            !headers.iter().any(|(name, value)| name != SET_COOKIE && value.as_bytes().windows(3).any(|w| w == b"hp_"))
        );
        assert!(!headers.contains_key("access-control-allow-origin"), "A33");
        Answer { status, headers, body, cookie }
    }

    /// Every attribute in its place, and none else (A45, A55).
    fn strict_set_cookie(&self, text: &str) -> SetCookie {
        let mut parts = text.split("; ");
        let (name, value) = parts.next().unwrap().split_once('=').unwrap();
        assert_eq!(name, self.cookie_name);
        let mut attributes: Vec<&str> = parts.collect();
        let mut take = |wanted: &str| {
            let at = attributes.iter().position(|each| each.split('=').next() == Some(wanted));
            at.map(|at| attributes.remove(at).to_owned())
        };
        assert_eq!(take("HttpOnly").as_deref(), Some("HttpOnly"));
        assert_eq!(take("SameSite").as_deref(), Some("SameSite=Lax"));
        assert_eq!(take("Path").as_deref(), Some("Path=/"));
        assert_eq!(take("Secure").is_some(), self.origin.starts_with("https:"));
        let max_age = take("Max-Age").map(|text| text["Max-Age=".len()..].parse::<i64>().unwrap());
        let expires = take("Expires");
        assert_eq!(max_age.is_some(), expires.is_some(), "both or none");
        assert!(attributes.is_empty(), "{attributes:?}");
        if value.is_empty() {
            assert_eq!((max_age, expires.as_deref()), (Some(0), Some("Expires=Thu, 01 Jan 1970 00:00:00 GMT")));
        } else {
            assert!(value.starts_with("hp_") && value.len() == hallpass_core::TOKEN_CHARS);
            assert!(max_age.is_none_or(|age| age > 0 && age <= 400 * 86_400));
        }
        SetCookie { value: value.to_owned(), max_age }
    }
}
