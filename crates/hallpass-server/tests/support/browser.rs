//! A browser without scripts: keeps cookies, follows nothing by itself.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use reqwest::cookie::CookieStore;
use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::{Client, Method, RequestBuilder, Url, redirect};
use serde_json::Value;

use super::PATIENCE;
use super::secrets::record;

/// Name and value of each cookie. Paths and hosts play no part: there is one server.
#[derive(Debug, Default)]
pub(crate) struct Jar(Mutex<BTreeMap<String, String>>);

impl CookieStore for Jar {
    fn set_cookies(&self, headers: &mut dyn Iterator<Item = &HeaderValue>, _: &Url) {
        let mut jar = self.0.lock().unwrap();
        for header in headers {
            let text = header.to_str().unwrap();
            let (pair, attributes) = text.split_once(';').unwrap_or((text, ""));
            let (name, value) = pair.split_once('=').unwrap();
            if attributes.contains("Max-Age=0") {
                jar.remove(name);
            } else {
                if value.starts_with("hp_") {
                    record(value);
                }
                jar.insert(name.to_owned(), value.to_owned());
            }
        }
    }

    fn cookies(&self, _: &Url) -> Option<HeaderValue> {
        let jar = self.0.lock().unwrap();
        let pairs: Vec<String> = jar.iter().map(|(name, value)| format!("{name}={value}")).collect();
        (!pairs.is_empty()).then(|| HeaderValue::from_str(&pairs.join("; ")).unwrap())
    }
}

/// One answer, read to its end.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// A header's value; empty when it is not there.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    /// The `Set-Cookie` lines.
    pub(crate) fn set_cookies(&self) -> Vec<String> {
        self.headers.get_all("set-cookie").iter().map(|value| value.to_str().unwrap().to_owned()).collect()
    }

    /// The `Set-Cookie` line of this name.
    pub(crate) fn set_cookie(&self, name: &str) -> Option<String> {
        let found: Vec<String> =
            self.set_cookies().into_iter().filter(|line| line.starts_with(&format!("{name}="))).collect();
        assert!(found.len() < 2, "{found:?}");
        found.into_iter().next()
    }

    /// The `url` of a JSON answer.
    pub(crate) fn url(&self) -> String {
        self.json()["url"].as_str().unwrap_or_else(|| panic!("no url: {self:?}")).to_owned()
    }

    /// The value of a form's hidden field.
    pub(crate) fn hidden(&self, name: &str) -> String {
        let start = format!("<input type=\"hidden\" name=\"{name}\" value=\"");
        let (_, rest) = self.body.split_once(&start).unwrap_or_else(|| panic!("no field {name}: {}", self.body));
        rest.split_once('"').unwrap().0.to_owned()
    }
}

/// A browser. `client` sends and keeps its cookies too.
#[derive(Debug, Clone)]
pub(crate) struct Browser {
    pub(crate) client: Client,
    pub(crate) jar: Arc<Jar>,
    pub(crate) origin: String,
}

impl Browser {
    pub(crate) fn new(origin: &str) -> Self {
        let jar = Arc::new(Jar::default());
        // As browsers do: every request of its own pages says so.
        let mut headers = HeaderMap::new();
        headers.insert("sec-fetch-site", HeaderValue::from_static("same-origin"));
        headers.insert(
            "user-agent",
            HeaderValue::from_static("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
        );
        let client = Client::builder()
            .cookie_provider(Arc::clone(&jar))
            .default_headers(headers)
            .redirect(redirect::Policy::none())
            .timeout(PATIENCE)
            .build()
            .unwrap();
        Self { client, jar, origin: origin.to_owned() }
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.origin))
    }

    pub(crate) async fn send(request: RequestBuilder) -> Answer {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Answer { status, headers, body: response.text().await.unwrap() }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        Self::send(self.request(Method::GET, path)).await
    }

    /// As the address bar does.
    pub(crate) async fn visit(&self, path: &str) -> Answer {
        Self::send(self.request(Method::GET, path).header("accept", "text/html").header("sec-fetch-mode", "navigate"))
            .await
    }

    /// Sends a form as a page does.
    pub(crate) async fn submit(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let request =
            self.request(Method::POST, path).header("accept", "text/html").header("sec-fetch-mode", "navigate");
        Self::send(request.form(fields)).await
    }

    /// Sends a form as Auth.js clients do.
    pub(crate) async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        Self::send(self.request(Method::POST, path).header("x-auth-return-redirect", "1").form(fields)).await
    }

    pub(crate) async fn csrf(&self) -> String {
        self.get("/api/auth/csrf").await.json()["csrfToken"].as_str().unwrap().to_owned()
    }

    /// Signs in as Auth.js clients do, or tries to.
    pub(crate) async fn sign_in(&self, email: &str, password: &str) -> Answer {
        self.sign_in_with(email, password, &[("callbackUrl", "/")]).await
    }

    pub(crate) async fn sign_in_with(&self, email: &str, password: &str, more: &[(&str, &str)]) -> Answer {
        let csrf = self.csrf().await;
        let fields = [&[("csrfToken", csrf.as_str()), ("email", email), ("password", password)], more].concat();
        self.post("/api/auth/callback/credentials", &fields).await
    }

    pub(crate) fn cookie(&self, name: &str) -> Option<String> {
        self.jar.0.lock().unwrap().get(name).cloned()
    }

    pub(crate) fn set_cookie(&self, name: &str, value: &str) {
        self.jar.0.lock().unwrap().insert(name.to_owned(), value.to_owned());
    }

    pub(crate) fn drop_cookie(&self, name: &str) {
        self.jar.0.lock().unwrap().remove(name);
    }

    pub(crate) fn session_token(&self) -> Option<String> {
        self.cookie("session")
    }

    /// Whether the API knows it.
    pub(crate) async fn is_signed_in(&self) -> bool {
        match self.get("/api/sessions").await.status {
            200 => true,
            401 => false,
            other => panic!("{other}"),
        }
    }
}
