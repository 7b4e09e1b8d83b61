//! Several hosts in one URL, each by itself.
//!
//! The driver tries the hosts of a configuration one after the other and bounds the socket's part of each attempt alone: a host whose kernel answers
//! and whose server does not (it stands still, or its disk does) would keep it from the next one for ever.

use tokio_postgres::Config;

/// The same configuration for each of its hosts; as it is where it names one, or where the driver has to say that the numbers do not match.
pub(crate) fn each(config: &Config) -> Vec<Config> {
    let (names, addresses, ports) = (config.get_hosts(), config.get_hostaddrs(), config.get_ports());
    let count = names.len().max(addresses.len());
    let matching = |length: usize| length == 0 || length == count;
    if count < 2 || !matching(names.len()) || !matching(addresses.len()) || !(ports.len() == 1 || matching(ports.len()))
    {
        return vec![config.clone()];
    }
    (0..count).map(|host| only(config, host)).collect()
}

fn only(config: &Config, host: usize) -> Config {
    let mut one = Config::new();
    if let Some(user) = config.get_user() {
        one.user(user);
    }
    if let Some(password) = config.get_password() {
        one.password(password);
    }
    if let Some(database) = config.get_dbname() {
        one.dbname(database);
    }
    if let Some(options) = config.get_options() {
        one.options(options);
    }
    if let Some(name) = config.get_application_name() {
        one.application_name(name);
    }
    match config.get_hosts().get(host) {
        Some(tokio_postgres::config::Host::Tcp(name)) => {
            one.host(name);
        }
        #[cfg(unix)]
        Some(tokio_postgres::config::Host::Unix(path)) => {
            one.host_path(path);
        }
        None => {}
    }
    if let Some(address) = config.get_hostaddrs().get(host) {
        one.hostaddr(*address);
    }
    if let Some(port) = config.get_ports().get(host).or_else(|| config.get_ports().first()) {
        one.port(*port);
    }
    if let Some(timeout) = config.get_connect_timeout() {
        one.connect_timeout(*timeout);
    }
    if let Some(timeout) = config.get_tcp_user_timeout() {
        one.tcp_user_timeout(*timeout);
    }
    one.keepalives(config.get_keepalives());
    one.keepalives_idle(config.get_keepalives_idle());
    if let Some(interval) = config.get_keepalives_interval() {
        one.keepalives_interval(interval);
    }
    if let Some(retries) = config.get_keepalives_retries() {
        one.keepalives_retries(retries);
    }
    one.ssl_mode(config.get_ssl_mode())
        .ssl_negotiation(config.get_ssl_negotiation())
        .target_session_attrs(config.get_target_session_attrs())
        .channel_binding(config.get_channel_binding())
        .load_balance_hosts(config.get_load_balance_hosts());
    one
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_host_keeps_everything_but_the_others() {
        let rest = "alice:s%40cret@HOST/app?options=-c%20work_mem%3D1MB&application_name=shop&sslmode=require&sslnegotiation=direct\
                    &connect_timeout=7&tcp_user_timeout=8&keepalives=0&keepalives_idle=9&keepalives_interval=10&keepalives_retries=11\
                    &target_session_attrs=read-write&channel_binding=require&load_balance_hosts=random";
        let parsed = |hosts: &str| format!("postgres://{}", rest.replacen("HOST", hosts, 1)).parse::<Config>().unwrap();
        let all = each(&parsed("one:1,two:2,%2Frun:3"));
        assert_eq!(all, [parsed("one:1"), parsed("two:2"), parsed("%2Frun:3")]);
        let same_port: Config = "host=one,two port=7 user=alice".parse().unwrap();
        let [one, two] = ["host=one port=7 user=alice", "host=two port=7 user=alice"].map(|text| text.parse().unwrap());
        assert_eq!(each(&same_port), [one, two]);
        let by_address: Config = "host=one,two hostaddr=127.0.0.1,127.0.0.2 user=alice".parse().unwrap();
        let two: Config = "host=two hostaddr=127.0.0.2 user=alice".parse().unwrap();
        assert_eq!(each(&by_address)[1], two);
        let single = parsed("one:1");
        assert_eq!(each(&single), std::slice::from_ref(&single));
        let wrong: Config = "host=one,two,three port=1,2 user=alice".parse().unwrap();
        assert_eq!(each(&wrong), std::slice::from_ref(&wrong));
    }
}
