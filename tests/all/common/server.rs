//! A web server on loopback with the faults that real ones have.

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What a server does instead of answering well.
#[derive(Debug, Clone, PartialEq)]
pub enum Fault {
    /// Answers with this status and nothing else.
    Status(u16),
    /// Answers with this status, and asks to wait (`Retry-After`).
    Busy(u16, &'static str),
    /// Names the right length and closes after so many bytes of the body.
    BreakAfter(usize),
    /// Sends so many bytes, waits, and so on.
    Slow(usize, Duration),
    /// Takes the request and never answers.
    Silent,
    /// Names a length that is so much larger than it is, and closes at the end.
    LieAboutLength(usize),
    /// Sends at most so many bytes, tells no length and closes: the answer ends as if it were whole.
    Untold(usize),
    /// Sends all bytes changed.
    WrongBytes,
    /// Sends everything from the start, whatever range was asked for.
    IgnoreRange,
    /// Says that the body is of this type.
    ContentType(&'static str),
    /// Sends from one address to another and back.
    RedirectLoop,
    /// A body without end.
    Endless,
}

/// A request as it arrived.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// GET, HEAD, POST.
    pub method: String,
    /// Without the query.
    pub path: String,
    /// After the question mark; empty without one.
    pub query: String,
    /// By lower-case name.
    pub headers: HashMap<String, String>,
    /// Of a POST.
    pub body: Vec<u8>,
}

/// What is answered.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Body,
}

/// Bytes, or a file that is read where it is asked for.
#[derive(Debug, Clone)]
pub enum Body {
    Bytes(Arc<Vec<u8>>),
    File(PathBuf),
}

impl Reply {
    pub fn new(kind: &str, bytes: impl Into<Vec<u8>>) -> Self {
        let headers = vec![("content-type".into(), kind.into())];
        Self { status: 200, headers, body: Body::Bytes(Arc::new(bytes.into())) }
    }
    pub fn json(value: &serde_json::Value) -> Self {
        Self::new("application/json", value.to_string())
    }
    pub fn file(path: impl Into<PathBuf>) -> Self {
        let headers = vec![("content-type".into(), "application/octet-stream".into())];
        Self { status: 200, headers, body: Body::File(path.into()) }
    }
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }
    pub fn status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }
}

type Handler = Arc<dyn Fn(&Seen) -> Reply + Send + Sync>;

#[derive(Default)]
struct State {
    handlers: Mutex<BTreeMap<String, Handler>>,
    faults: Mutex<Vec<(String, Fault, usize)>>,
    seen: Mutex<Vec<Seen>>,
    closed: AtomicBool,
    sent: Mutex<HashMap<String, u64>>,
}

/// The server; gone when dropped.
pub struct Server {
    /// `http://127.0.0.1:PORT`
    pub url: String,
    state: Arc<State>,
}

impl Server {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port on loopback");
        let url = format!("http://{}", listener.local_addr().expect("address"));
        let state = Arc::new(State::default());
        let own = state.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if own.closed.load(Ordering::Relaxed) {
                    return;
                }
                let state = own.clone();
                std::thread::spawn(move || {
                    let _ = serve(stream, &state);
                });
            }
        });
        Self { url, state }
    }

    /// Answers a path (all paths below it, if it ends in a slash) with the same.
    pub fn put(&self, path: &str, reply: Reply) {
        self.handle(path, move |_| reply.clone());
    }

    /// Answers a path, or all paths below it if it ends in a slash; of several that fit, the longest.
    pub fn handle(&self, path: &str, handler: impl Fn(&Seen) -> Reply + Send + Sync + 'static) {
        self.state.handlers.lock().expect("handlers").insert(path.into(), Arc::new(handler));
    }

    /// Fails the next `times` requests whose path begins like this.
    pub fn fail(&self, path: &str, fault: Fault, times: usize) {
        self.state.faults.lock().expect("faults").push((path.into(), fault, times));
    }

    /// Forgets all faults.
    pub fn heal(&self) {
        self.state.faults.lock().expect("faults").clear();
    }

    /// Everything that was asked for so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.state.seen.lock().expect("seen").clone()
    }

    /// Bytes of bodies sent, or begun to be sent, for this path.
    pub fn sent(&self, path: &str) -> u64 {
        self.state.sent.lock().expect("sent").get(path).copied().unwrap_or(0)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.state.closed.store(true, Ordering::Relaxed);
        // Wakes the listener, so that its thread ends.
        let _ = TcpStream::connect(self.url.trim_start_matches("http://"));
    }
}

fn read_request(stream: &TcpStream) -> std::io::Result<Seen> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split_whitespace();
    let method = words.next().unwrap_or_default().to_owned();
    let (path, query) = words.next().unwrap_or_default().split_once('?').map_or_else(
        || (line.split_whitespace().nth(1).unwrap_or_default().to_owned(), String::new()),
        |(path, query)| (path.to_owned(), query.to_owned()),
    );
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        match line.trim_end().split_once(": ") {
            Some((name, value)) => headers.insert(name.to_ascii_lowercase(), value.to_owned()),
            None => break,
        };
    }
    let length = headers.get("content-length").and_then(|n| n.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(Seen { method, path, query, headers, body })
}

fn serve(mut stream: TcpStream, state: &State) -> std::io::Result<()> {
    let seen = read_request(&stream)?;
    if seen.method.is_empty() {
        return Ok(());
    }
    state.seen.lock().expect("seen").push(seen.clone());
    let fault = {
        let mut faults = state.faults.lock().expect("faults");
        let found = faults.iter_mut().find(|(path, _, times)| *times > 0 && seen.path.starts_with(path.as_str()));
        found.map(|(_, fault, times)| {
            *times -= 1;
            fault.clone()
        })
    };
    let handler = {
        let handlers = state.handlers.lock().expect("handlers");
        let below = |path: &str| path.ends_with('/') && seen.path.starts_with(path);
        let fits = |path: &String| *path == seen.path || below(path);
        handlers.iter().filter(|(path, _)| fits(path)).max_by_key(|(path, _)| path.len()).map(|(_, h)| h.clone())
    };
    let mut reply = match (&handler, &fault) {
        (_, Some(Fault::Status(status))) => Reply::new("text/plain", "no").status(*status),
        (_, Some(Fault::Busy(status, wait))) => {
            Reply::new("text/plain", "no").status(*status).header("retry-after", wait)
        }
        (_, Some(Fault::RedirectLoop)) => Reply::new("text/plain", "").status(302).header("location", &seen.path),
        (Some(handler), _) => handler(&seen),
        (None, _) => Reply::new("text/plain", "nothing here").status(404),
    };
    if let Some(Fault::ContentType(kind)) = fault {
        reply.headers.retain(|(name, _)| name != "content-type");
        reply.headers.push(("content-type".into(), kind.into()));
    }
    if fault == Some(Fault::Silent) {
        // Until the other side gives up.
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        let _ = stream.read(&mut [0; 1]);
        return Ok(());
    }
    if fault == Some(Fault::Endless) {
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n[")?;
        let many = vec![b' '; 1 << 20];
        loop {
            stream.write_all(&many)?;
        }
    }
    let total = match &reply.body {
        Body::Bytes(bytes) => bytes.len() as u64,
        Body::File(path) => std::fs::metadata(path)?.len(),
    };
    let range = seen.headers.get("range").filter(|_| reply.status == 200 && fault != Some(Fault::IgnoreRange));
    let range = range.and_then(|text| {
        let (from, to) = text.strip_prefix("bytes=")?.split_once('-')?;
        Some((
            from.parse::<u64>().ok()?,
            to.parse::<u64>().unwrap_or(total.saturating_sub(1)).min(total.saturating_sub(1)),
        ))
    });
    let (status, from, length) = match range {
        Some((from, _)) if from >= total => (416, 0, 0),
        Some((from, to)) => (206, from, to + 1 - from),
        None => (reply.status, 0, total),
    };
    let mut body = vec![0; length as usize];
    match &reply.body {
        Body::Bytes(bytes) => body.copy_from_slice(&bytes[from as usize..(from + length) as usize]),
        Body::File(path) => {
            use std::io::{Seek, SeekFrom};
            let mut file = std::fs::File::open(path)?;
            file.seek(SeekFrom::Start(from))?;
            file.read_exact(&mut body)?;
        }
    }
    if fault == Some(Fault::WrongBytes) {
        body.iter_mut().for_each(|b| *b = !*b);
    }
    let lie = if let Some(Fault::LieAboutLength(more)) = fault { more } else { 0 };
    let mut head = format!("HTTP/1.1 {status} X\r\nconnection: close\r\naccept-ranges: bytes\r\n");
    if !matches!(fault, Some(Fault::Untold(_))) {
        head += &format!("content-length: {}\r\n", length as usize + lie);
    }
    if status == 206 {
        head += &format!("content-range: bytes {from}-{}/{}\r\n", from + length - 1, total as usize + lie);
    }
    for (name, value) in &reply.headers {
        head += &format!("{name}: {value}\r\n");
    }
    stream.write_all((head + "\r\n").as_bytes())?;
    if seen.method == "HEAD" {
        return Ok(());
    }
    let send = |stream: &mut TcpStream, bytes: &[u8]| -> std::io::Result<()> {
        // Counted before the other side can have them.
        *state.sent.lock().expect("sent").entry(seen.path.clone()).or_default() += bytes.len() as u64;
        stream.write_all(bytes)
    };
    match fault {
        Some(Fault::BreakAfter(n) | Fault::Untold(n)) => send(&mut stream, &body[..n.min(body.len())])?,
        Some(Fault::Slow(n, pause)) => {
            for piece in body.chunks(n.max(1)) {
                send(&mut stream, piece)?;
                stream.flush()?;
                std::thread::sleep(pause);
            }
        }
        _ => send(&mut stream, &body)?,
    }
    stream.flush()
}
