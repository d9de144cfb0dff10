//! QEMU's own control line (QMP): orders to the machine from outside, and what it reports of itself.

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

const ANSWER: Duration = Duration::from_secs(20);

/// The control line of one machine.
#[derive(Debug)]
pub struct Qmp {
    line: UnixStream,
    answers: Receiver<Value>,
    events: Receiver<Value>,
}

impl Qmp {
    /// Takes the line over and greets.
    pub fn open(line: UnixStream) -> Result<Self> {
        let reader = BufReader::new(line.try_clone().context("copying the control line")?);
        let (answer, answers) = channel();
        let (event, events) = channel();
        std::thread::spawn(move || {
            for text in reader.lines().map_while(Result::ok) {
                let Ok(value) = serde_json::from_str::<Value>(&text) else {
                    continue;
                };
                let to = if value.get("event").is_some() { &event } else { &answer };
                if value.get("QMP").is_none() && to.send(value).is_err() {
                    break;
                }
            }
        });
        let mut qmp = Self { line, answers, events };
        qmp.run("qmp_capabilities", &json!({}))?;
        Ok(qmp)
    }

    /// Gives an order and returns its answer.
    pub fn run(&mut self, order: &str, arguments: &Value) -> Result<Value> {
        let text = json!({ "execute": order, "arguments": arguments }).to_string();
        self.line
            .write_all(text.as_bytes())
            .with_context(|| format!("ordering {order} of QEMU"))?;
        let mut answer = self
            .answers
            .recv_timeout(ANSWER)
            .with_context(|| format!("waiting for QEMU's answer to {order}"))?;
        if let Some(error) = answer.get("error") {
            bail!("ordering {order} of QEMU: {error}");
        }
        Ok(answer.get_mut("return").map(Value::take).unwrap_or_default())
    }

    /// Gives an order of the human monitor and returns what it prints.
    pub fn monitor(&mut self, line: &str) -> Result<String> {
        let answer = self.run("human-monitor-command", &json!({ "command-line": line }))?;
        Ok(answer.as_str().unwrap_or_default().to_owned())
    }

    /// Waits for an event by its name (`RESET`, `WATCHDOG`, `SHUTDOWN`, …); those before it are dropped.
    pub fn wait_event(&mut self, name: &str, within: Duration) -> Result<Value> {
        let until = Instant::now() + within;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let event = self
                .events
                .recv_timeout(left)
                .with_context(|| format!("waiting for QEMU's event {name}"))?;
            if event.get("event").and_then(Value::as_str) == Some(name) {
                return Ok(event);
            }
        }
    }
}
