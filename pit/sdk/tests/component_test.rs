//! A component written with the macros, called through its exported table as the host calls it. markers: unit
#![allow(unsafe_code, clippy::unwrap_used)] // calls through the table; an unwrap is an assertion

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

use symphony_pit::abi::{self, RawValue, Returned, STATUS_OK, STATUS_PENDING};
use symphony_pit::record::{Reader, Writer};
use symphony_pit::testing::TestHost;
use symphony_pit::{
    Component, Error, ErrorKind, Extension, FromPit, Host, Record, Result, ToPit, Value, ValueRef,
    pit_component,
};

#[derive(ToPit, FromPit, Debug, PartialEq)]
enum Mood {
    Calm,
    RatherWild,
}

#[derive(ToPit, FromPit, Debug, PartialEq)]
struct Item {
    name: String,
    weight: Option<f64>,
    mood: Mood,
    marks: Option<HashMap<String, BTreeMap<String, i64>>>,
    tags: Option<BTreeSet<String>>,
}

struct Sample {
    host: Host,
    sum: Mutex<i64>,
}

#[pit_component(id = "test.sample", description = "For tests", revision = 3, calls = ["test.other"])]
impl Sample {
    /// Add to the sum.
    ///
    /// The second paragraph
    /// flows on.
    #[pit_method]
    fn add(&self, amount: i64, #[default("it\'s")] _note: &str, #[default(-1)] _least: i32) -> Result<i64> {
        let mut sum = self.sum.lock().unwrap();
        self.host.append(1, 3, self.host.now(), &Writer::default().i64(amount).finish())?;
        *sum += amount;
        Ok(*sum)
    }

    /// Items come and go.
    #[pit_method(blocking)]
    fn items(
        &self,
        items: Vec<Item>,
        #[default(None)] limit: Option<u32>,
    ) -> Result<BTreeMap<String, Vec<Item>>> {
        let kept = items.into_iter().take(limit.map_or(usize::MAX, |limit| limit as usize)).collect();
        Ok(BTreeMap::from([("kept".to_owned(), kept)]))
    }

    /// Sleep, then answer.
    #[pit_method]
    async fn later(self: Arc<Self>, when: i64, text: String) -> Result<Option<String>> {
        self.host.sleep_until(when).await;
        Ok(Some(text))
    }

    /// Ask another component and the engine.
    #[pit_method]
    fn ask(&self) -> Result<Value> {
        self.host.callout("model.load", &[Value::from("m"), Value::List(vec![Value::Int(1)])])?;
        self.host.call("test.other", "twice", &[Value::Int(4)])
    }

    /// Break down.
    #[pit_method]
    fn panic(&self) -> Result<()> {
        panic!("out of luck")
    }
}

impl Component for Sample {
    fn create(host: Host) -> Result<Self> {
        Ok(Self { host, sum: Mutex::default() })
    }

    fn restore(&self, snapshot: &[u8]) -> Result<()> {
        *self.sum.lock().unwrap() = Reader::new(snapshot).i64()?;
        Ok(())
    }

    fn replay(&self, record: &Record<'_>) -> Result<()> {
        *self.sum.lock().unwrap() += Reader::new(record.payload).i64()?;
        Ok(())
    }

    fn snapshot(&self) -> Result<Option<Vec<u8>>> {
        Ok(Some(Writer::default().i64(*self.sum.lock().unwrap()).finish()))
    }
}

struct Loaded {
    component: Arc<Sample>,
    host: TestHost,
    _folder: tempfile::TempDir,
}

fn load() -> Loaded {
    let folder = tempfile::tempdir().unwrap();
    let host = TestHost::new(folder.path());
    Loaded { component: Arc::new(Sample::create(host.host()).unwrap()), host, _folder: folder }
}

fn methods() -> &'static [abi::Method] {
    let entry = &symphony_pit_entry_v1();
    unsafe { std::slice::from_raw_parts(entry.methods, entry.method_count) }
}

fn symphony_pit_entry_v1() -> &'static abi::Entry {
    unsafe extern "C" {
        #[link_name = "symphony_pit_entry_v1"]
        static ENTRY: abi::Entry;
    }
    unsafe { &ENTRY }
}

/// Call a method by name; an asynchronous one gives its operation.
fn call(loaded: &Loaded, name: &str, args: &[Value]) -> std::result::Result<Returned, Error> {
    let method = methods().iter().find(|method| unsafe { method.name.as_str() } == name).unwrap();
    let mut out = Returned::EMPTY;
    let instance = Arc::as_ptr(&loaded.component).cast();
    let status = abi::with_raw(args, |raw: &[RawValue]| unsafe {
        (method.call)(instance, raw.as_ptr(), raw.len(), &raw mut out)
    });
    if status == STATUS_OK {
        return Ok(out);
    }
    let error = unsafe { out.to_error(status) };
    unsafe { out.release() };
    Err(error)
}

fn value(loaded: &Loaded, name: &str, args: &[Value]) -> std::result::Result<Value, Error> {
    let mut out = call(loaded, name, args)?;
    let value = unsafe { ValueRef::new(&out.value) }.to_owned();
    unsafe { out.release() };
    Ok(value)
}

#[test]
fn the_table_says_what_the_signatures_say() {
    let text = |text: abi::Str| unsafe { text.as_str() };
    let shown: Vec<String> = methods()
        .iter()
        .map(|method| {
            let params = unsafe { std::slice::from_raw_parts(method.params, method.param_count) };
            let params: Vec<String> = params
                .iter()
                .map(|param| {
                    format!("{}: {} = {}", text(param.name), text(param.type_name), text(param.default))
                })
                .collect();
            format!(
                "{} {}({}) -> {}",
                method.flags,
                text(method.name),
                params.join(", "),
                text(method.returns)
            )
        })
        .collect();
    assert_eq!(
        shown,
        [
            "1 add(amount: int = , _note: str = 'it\\'s', _least: int = -1) -> int",
            "2 items(items: list[dict[str, Any]] = , limit: int | None = None) -> dict[str, list[dict[str, Any]]]",
            "4 later(when: int = , text: str = ) -> str | None",
            "1 ask() -> object",
            "1 panic() -> None",
        ]
    );
    assert_eq!(text(methods()[0].doc), "Add to the sum.\n\nThe second paragraph flows on.");
    let entry = symphony_pit_entry_v1();
    assert_eq!((text(entry.id), entry.revision, entry.call_count), ("test.sample", 3, 1));
}

#[test]
fn arguments_of_other_types_are_refused_with_their_place() {
    let loaded = load();
    let item = |pairs: Vec<(&str, Value)>| Value::List(vec![Value::map(pairs)]);
    let (name, mood) = (("name", Value::from("x")), ("mood", Value::from("calm")));
    let marks = Value::map([("a", Value::map([("b", Value::Tuple(vec![]))]))]);
    let cases = [
        (
            "add",
            vec!["x".into(), "".into(), Value::Int(0)],
            ErrorKind::WrongType,
            "amount: expected int, got str ('x')",
        ),
        (
            "add",
            vec![Value::Big(vec![0; 9]), "".into(), Value::Int(0)],
            ErrorKind::WrongType,
            "amount: expected int, got int beyond 64 bits",
        ),
        (
            "add",
            vec![Value::Int(1), "".into(), Value::Int(1 << 40)],
            ErrorKind::InvalidArgument,
            "_least: expected int in range, got 1099511627776",
        ),
        ("items", vec![Value::Int(1), Value::None], ErrorKind::WrongType, "items: expected list, got int"),
        (
            "items",
            vec![item(vec![("name", Value::Int(1)), mood.clone()]), Value::None],
            ErrorKind::WrongType,
            "items[0].name: expected str, got int",
        ),
        (
            "items",
            vec![item(vec![name.clone(), mood.clone(), ("weight", "much".into())]), Value::None],
            ErrorKind::WrongType,
            "items[0].weight: expected float, got str ('much')",
        ),
        (
            "items",
            vec![item(vec![name.clone(), mood.clone(), ("marks", marks)]), Value::None],
            ErrorKind::WrongType,
            "items[0].marks['a']['b']: expected int, got tuple",
        ),
        (
            "items",
            vec![
                item(vec![name.clone(), mood.clone(), ("tags", Value::Set(vec![Value::Int(1)]))]),
                Value::None,
            ],
            ErrorKind::WrongType,
            "items[0].tags[0]: expected str, got int",
        ),
        (
            "items",
            vec![item(vec![mood.clone()]), Value::None],
            ErrorKind::InvalidArgument,
            "items[0].name: missing",
        ),
        (
            "items",
            vec![item(vec![("nam", "x".into())]), Value::None],
            ErrorKind::InvalidArgument,
            "items[0]: unknown key 'nam'",
        ),
        (
            "items",
            vec![item(vec![name.clone(), ("mood", "wild".into())]), Value::None],
            ErrorKind::InvalidArgument,
            "items[0].mood: expected one of calm, rather_wild, got str ('wild')",
        ),
        (
            "items",
            vec![Value::List(vec![]), Value::Int(-1)],
            ErrorKind::InvalidArgument,
            "limit: expected int of at least 0, got -1",
        ),
    ];
    for (method, args, kind, message) in cases {
        let error = value(&loaded, method, &args).unwrap_err();
        assert_eq!((error.kind, error.message.as_str()), (kind, message));
    }
}

#[test]
fn structs_and_enums_come_back_as_they_went() {
    let loaded = load();
    let item = Item {
        name: "a".to_owned(),
        weight: Some(0.5),
        mood: Mood::RatherWild,
        marks: Some(HashMap::from([("m".to_owned(), BTreeMap::from([("n".to_owned(), 1)]))])),
        tags: Some(BTreeSet::from(["x".to_owned(), "y".to_owned()])),
    };
    let item = item.to_pit();
    let answer = value(&loaded, "items", &[Value::List(vec![item.clone(), item.clone()]), Value::Int(1)]);
    assert_eq!(answer, Ok(Value::map([("kept", Value::List(vec![item.clone()]))])));
    // A tuple serves as a list; a record of Python's as the dict of its fields.
    let record = Extension {
        name: "record".to_owned(),
        plain: Value::Tuple(vec!["Item".into(), item.clone()]),
        base: item.clone(),
    };
    let record = Value::Extension(Box::new(record));
    let answer = value(&loaded, "items", &[Value::Tuple(vec![record]), Value::None]);
    assert_eq!(answer, Ok(Value::map([("kept", Value::List(vec![item]))])));
}

#[test]
fn state_comes_back_from_records_and_from_a_snapshot() {
    let loaded = load();
    for amount in [1, 2, 39] {
        value(&loaded, "add", &[Value::Int(amount), "".into(), Value::Int(0)]).unwrap();
    }
    let replayed = Sample::create(loaded.host.host()).unwrap();
    loaded.host.replay_into(&replayed).unwrap();
    assert_eq!(*replayed.sum.lock().unwrap(), 42);
    let restored = Sample::create(loaded.host.host()).unwrap();
    restored.restore(&replayed.snapshot().unwrap().unwrap()).unwrap();
    assert_eq!(*restored.sum.lock().unwrap(), 42);
}

#[test]
fn a_full_disk_changes_nothing() {
    let loaded = load();
    loaded.host.set_full(true);
    let error = value(&loaded, "add", &[Value::Int(1), "".into(), Value::Int(0)]).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Io);
    assert_eq!(*loaded.component.sum.lock().unwrap(), 0);
}

#[test]
fn an_operation_sleeps_until_the_clock_says_so_and_owns_its_arguments() {
    let loaded = load();
    let mut out = call(&loaded, "later", &[Value::Int(5_000_000), "done".into()]).unwrap();
    let operation: *mut abi::Operation = out.owner.cast();
    let waker = abi::raw_waker(std::task::Waker::noop());
    let mut result = Returned::EMPTY;
    let mut poll = || unsafe { ((*operation).poll)(operation, &raw const waker, &raw mut result) };
    assert_eq!(poll(), STATUS_PENDING);
    loaded.host.set_now(5_000_000);
    assert_eq!(poll(), STATUS_OK);
    assert_eq!(unsafe { ValueRef::new(&result.value) }.to_owned(), Value::from("done"));
    assert_eq!(Arc::strong_count(&loaded.component), 1, "the finished operation gave its instance back");
    unsafe { result.release() };
    unsafe { out.release() };
}

#[test]
fn other_components_and_the_engine_are_asked_through_the_host() {
    let loaded = load();
    loaded.host.on_call("test.other", "twice", |args| match args {
        [Value::Int(number)] => Ok(Value::Int(2 * number)),
        _ => Err(Error::invalid("no int")),
    });
    assert_eq!(value(&loaded, "ask", &[]), Ok(Value::Int(8)));
    let asked = loaded.host.callouts();
    assert_eq!(asked, [("model.load".to_owned(), vec!["m".into(), Value::List(vec![Value::Int(1)])])]);
    loaded.host.set_listening(false);
    assert_eq!(value(&loaded, "ask", &[]).unwrap_err().kind, ErrorKind::WouldBlock);
}

#[test]
fn a_panic_is_an_error_of_that_call() {
    let loaded = load();
    let error = value(&loaded, "panic", &[]).unwrap_err();
    assert_eq!((error.kind, error.message.as_str()), (ErrorKind::Panic, "out of luck"));
    assert_eq!(value(&loaded, "add", &[Value::Int(1), "".into(), Value::Int(0)]), Ok(Value::Int(1)));
}
