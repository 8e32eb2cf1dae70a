//! The index of a PyTorch weight file: the few operations of the pickle protocol that a flat state dict of tensors needs.
//!
//! Nothing is executed: `OrderedDict`, `_rebuild_tensor_v2`, `_rebuild_parameter` and the storage types are understood,
//! and every other global is an error.

use candle_core::DType;
use std::collections::HashMap;
use std::rc::Rc;

/// Most values one index may build; the published denoiser needs about 10 000.
const MAX_OBJECTS: usize = 4_000_000;

/// A run of numbers in the container.
#[derive(Debug, Clone)]
pub(super) struct Storage {
    /// Its name in the container.
    pub key: String,
    /// Type of its elements.
    pub dtype: DType,
    /// How many there are.
    pub elements: usize,
}

/// Where in a storage the elements of a tensor lie.
#[derive(Debug, Clone)]
pub(super) struct TensorRef {
    /// The storage.
    pub storage: Rc<Storage>,
    /// Its first element.
    pub offset: usize,
    /// Shape.
    pub shape: Vec<usize>,
    /// Elements from one to the next along each dimension.
    pub stride: Vec<usize>,
}

/// What the index may be built of.
#[derive(Debug, Clone)]
enum Object {
    Mark,
    None,
    Bool,
    Int(i64),
    Text(Rc<str>),
    /// Items and depth of nesting.
    Tuple(Rc<Vec<Object>>, usize),
    /// A dictionary inside something else, a list or a number with a fraction: beside weights their content is not needed, and
    /// without it nothing nests deeply.
    Nested,
    /// A dictionary of tensors that became part of something else.
    Tensors(Rc<Named>),
    /// Dictionaries are shared with the memo, as in Python.
    Dict(Rc<std::cell::RefCell<Vec<(Object, Object)>>>),
    Global(Global),
    Storage(Rc<Storage>),
    Tensor(Rc<TensorRef>),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Global {
    OrderedDict,
    RebuildTensor,
    RebuildParameter,
    StorageType(DType),
}

/// Tensors by name.
type Named = Vec<(String, TensorRef)>;

/// Reads the index of a flat state dict, or of a checkpoint that holds one: where each tensor lies, by name.
///
/// # Errors
/// When it is truncated, malformed, or asks for anything that weights do not need.
pub(super) fn read_index(index: &[u8]) -> Step<Vec<(String, TensorRef)>> {
    Machine::new(index).run()
}

/// The stack machine of the pickle protocol, restricted.
struct Machine<'a> {
    input: &'a [u8],
    at: usize,
    stack: Vec<Object>,
    memo: HashMap<u32, Object>,
    built: usize,
}

/// What a step gives, or what is wrong with the index.
pub(super) type Step<T> = std::result::Result<T, String>;

impl<'a> Machine<'a> {
    fn new(input: &'a [u8]) -> Self {
        Self { input, at: 0, stack: Vec::new(), memo: HashMap::new(), built: 0 }
    }

    fn bytes(&mut self, n: usize) -> Step<&'a [u8]> {
        let end = self.at.checked_add(n).filter(|&end| end <= self.input.len()).ok_or("its index is truncated")?;
        let slice = &self.input[self.at..end];
        self.at = end;
        Ok(slice)
    }

    fn array<const N: usize>(&mut self) -> Step<[u8; N]> {
        self.bytes(N)?.try_into().map_err(|_| "its index is truncated".to_owned())
    }

    fn line(&mut self) -> Step<&'a str> {
        let rest = &self.input[self.at..];
        let n = rest.iter().position(|&b| b == b'\n').ok_or("its index is truncated")?;
        self.at += n + 1;
        std::str::from_utf8(&rest[..n]).map_err(|_| "its index holds text that is not UTF-8".to_owned())
    }

    fn pop(&mut self) -> Step<Object> {
        self.stack.pop().ok_or_else(|| "its index is malformed (empty stack)".to_owned())
    }

    fn push(&mut self, object: Object) -> Step<()> {
        self.built += 1;
        if self.built > MAX_OBJECTS {
            return Err("its index is too large".into());
        }
        self.stack.push(object);
        Ok(())
    }

    fn pop_to_mark(&mut self) -> Step<Vec<Object>> {
        let mark =
            self.stack.iter().rposition(|o| matches!(o, Object::Mark)).ok_or("its index is malformed (no mark)")?;
        let items = self.stack.split_off(mark + 1);
        self.stack.pop();
        Ok(items)
    }

    fn text(&mut self, n: usize) -> Step<Object> {
        let text = std::str::from_utf8(self.bytes(n)?).map_err(|_| "its index holds text that is not UTF-8")?;
        Ok(Object::Text(text.into()))
    }

    fn run(mut self) -> Step<Vec<(String, TensorRef)>> {
        loop {
            let op = self.bytes(1)?[0];
            if op == b'.' {
                break;
            }
            self.step(op)?;
        }
        let Object::Dict(dict) = self.pop()? else {
            return Err("it does not hold a dictionary of tensors".into());
        };
        let entries = dict.borrow();
        // A checkpoint of a training holds the weights beside other things.
        let sets: Vec<(&str, &Named)> = entries
            .iter()
            .filter_map(|entry| match entry {
                (Object::Text(name), Object::Tensors(all)) => Some((&**name, &**all)),
                _ => None,
            })
            .collect();
        match (&sets[..], entries.iter().any(|entry| named(entry).is_some())) {
            ([(_, one)], false) => return Ok(one.to_vec()),
            ([_, _, ..], false) => {
                let names: Vec<&str> = sets.iter().map(|(name, _)| *name).collect();
                return Err(format!(
                    "it holds several sets of weights ({}); save the one that is meant",
                    names.join(", ")
                ));
            }
            _ => {}
        }
        let flat = entries.iter().map(|(key, value)| match (key, value) {
            (Object::Text(name), Object::Tensor(tensor)) => Ok((name.to_string(), (**tensor).clone())),
            (Object::Text(name), _) => {
                Err(format!("entry {name} is not a tensor; only a flat state dict of tensors is read"))
            }
            _ => Err("it has an entry without a name".into()),
        });
        flat.collect()
    }

    fn step(&mut self, op: u8) -> Step<()> {
        match op {
            0x80 => drop(self.bytes(1)?),              // PROTO
            0x95 => drop(self.bytes(8)?),              // FRAME
            b'(' => self.push(Object::Mark)?,          // MARK
            b'N' => self.push(Object::None)?,          // NONE
            b']' | 0x8f => self.push(Object::Nested)?, // EMPTY_LIST, EMPTY_SET
            b'0' => drop(self.pop()?),                 // POP
            b'G' => {
                self.bytes(8)?;
                self.push(Object::Nested)?;
            }
            b'l' => {
                self.pop_to_mark()?;
                self.push(Object::Nested)?;
            }
            b'a' => {
                self.pop()?;
                self.is_list()?;
            }
            b'e' | 0x90 => {
                self.pop_to_mark()?;
                self.is_list()?;
            }
            b'I' | b'L' => {
                let object = match self.line()?.trim_end_matches('L') {
                    "00" | "01" => Object::Bool,
                    number => Object::Int(number.parse().map_err(|_| "its index holds a number beyond 64 bits")?),
                };
                self.push(object)?;
            }
            b'T' => {
                let n = u32::from_le_bytes(self.array()?) as usize;
                let text = self.text(n)?;
                self.push(text)?;
            }
            b'U' => {
                let n = self.bytes(1)?[0] as usize;
                let text = self.text(n)?;
                self.push(text)?;
            }
            0x88 | 0x89 => self.push(Object::Bool)?,         // NEWTRUE, NEWFALSE
            b'}' => self.push(Object::Dict(Rc::default()))?, // EMPTY_DICT
            b')' => self.push(Object::Tuple(Rc::default(), 0))?, // EMPTY_TUPLE
            b'J' => {
                let n = i32::from_le_bytes(self.array()?);
                self.push(Object::Int(n.into()))?;
            }
            b'K' => {
                let n = self.bytes(1)?[0];
                self.push(Object::Int(n.into()))?;
            }
            b'M' => {
                let n = u16::from_le_bytes(self.array()?);
                self.push(Object::Int(n.into()))?;
            }
            0x8a => {
                let n = self.bytes(1)?[0] as usize;
                let bytes = self.bytes(n)?;
                if n > 8 {
                    return Err("its index holds a number beyond 64 bits".into());
                }
                let negative = bytes.last().is_some_and(|b| b & 0x80 != 0);
                let mut full = [if negative { 0xff } else { 0 }; 8];
                full[..n].copy_from_slice(bytes);
                self.push(Object::Int(i64::from_le_bytes(full)))?;
            }
            b'X' => {
                let n = u32::from_le_bytes(self.array()?) as usize;
                let text = self.text(n)?;
                self.push(text)?;
            }
            0x8c => {
                let n = self.bytes(1)?[0] as usize;
                let text = self.text(n)?;
                self.push(text)?;
            }
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.push(Object::Global(global(module, name)?))?;
            }
            0x93 => match (self.pop()?, self.pop()?) {
                (Object::Text(name), Object::Text(module)) => self.push(Object::Global(global(&module, &name)?))?,
                _ => return Err("its index is malformed (global)".into()),
            },
            b'q' => {
                let id = self.bytes(1)?[0];
                self.remember(id.into())?;
            }
            b'r' => {
                let id = u32::from_le_bytes(self.array()?);
                self.remember(id)?;
            }
            0x94 => self.remember(self.memo.len() as u32)?,
            b'h' => {
                let id = self.bytes(1)?[0];
                self.recall(id.into())?;
            }
            b'j' => {
                let id = u32::from_le_bytes(self.array()?);
                self.recall(id)?;
            }
            0x85..=0x87 => {
                let n = (op - 0x84) as usize;
                let from = self.stack.len().checked_sub(n).ok_or("its index is malformed (tuple)")?;
                let items = self.stack.split_off(from);
                self.push(tuple(items)?)?;
            }
            b't' => {
                let items = self.pop_to_mark()?;
                self.push(tuple(items)?)?;
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.extend_dict(vec![key, value])?;
            }
            b'u' => {
                let items = self.pop_to_mark()?;
                self.extend_dict(items)?;
            }
            b'Q' => {
                let id = self.pop()?;
                let storage = storage(&id).ok_or("its index names a storage in an unknown way")?;
                self.push(Object::Storage(Rc::new(storage)))?;
            }
            b'R' => {
                let (args, callable) = (self.pop()?, self.pop()?);
                if is_changed_view(&callable, &args) {
                    return Err("one of its tensors is a negated or conjugated view of another; save it with resolve_neg() and resolve_conj()".into());
                }
                let object = reduce(&callable, &args).ok_or("its index calls something in an unknown way")?;
                self.push(object)?;
            }
            // BUILD on an OrderedDict carries its attributes (`_metadata`), which hold no weights.
            b'b' => drop(self.pop()?),
            other => return Err(format!("its index uses pickle operation 0x{other:02x}, which weights do not need")),
        }
        Ok(())
    }

    /// Makes sure that what is extended may be a list, whose items are not kept.
    fn is_list(&self) -> Step<()> {
        match self.stack.last() {
            Some(Object::Nested) => Ok(()),
            _ => Err("its index is malformed (list)".into()),
        }
    }

    fn remember(&mut self, id: u32) -> Step<()> {
        let top = self.stack.last().ok_or("its index is malformed (memo)")?;
        self.memo.insert(id, top.clone());
        Ok(())
    }

    fn recall(&mut self, id: u32) -> Step<()> {
        let object = self.memo.get(&id).cloned().ok_or("its index is malformed (memo)")?;
        self.push(object)
    }

    fn extend_dict(&mut self, items: Vec<Object>) -> Step<()> {
        let Some(Object::Dict(dict)) = self.stack.last() else {
            return Err("its index is malformed (dictionary)".into());
        };
        let mut dict = dict.borrow_mut();
        let mut items = items.into_iter();
        while let (Some(key), Some(value)) = (items.next(), items.next()) {
            dict.push((flat(key), flat(value)));
        }
        Ok(())
    }
}

/// Dictionaries lose their content when they become part of something else, but for sets of tensors: one that holds a single
/// such set, and no tensor beside it, stands for it.
fn flat(object: Object) -> Object {
    let Object::Dict(dict) = &object else { return object };
    let entries = dict.borrow();
    let all = entries.iter().map(named).collect::<Option<Vec<_>>>();
    if let Some(all) = all.filter(|all| !all.is_empty()) {
        return Object::Tensors(Rc::new(all));
    }
    let mut sets = entries.iter().filter_map(|entry| match entry {
        (Object::Text(_), Object::Tensors(set)) => Some(set.clone()),
        _ => None,
    });
    let single = sets.next().filter(|_| sets.next().is_none() && !entries.iter().any(|entry| named(entry).is_some()));
    single.map_or(Object::Nested, Object::Tensors)
}

/// A tensor and its name, if an entry is that.
fn named((key, value): &(Object, Object)) -> Option<(String, TensorRef)> {
    match (key, value) {
        (Object::Text(name), Object::Tensor(tensor)) => Some((name.to_string(), (**tensor).clone())),
        _ => None,
    }
}

fn tuple(items: Vec<Object>) -> Step<Object> {
    let depth = |o: &Object| if let Object::Tuple(_, depth) = o { depth + 1 } else { 0 };
    let deepest = items.iter().map(depth).max().unwrap_or(0);
    if deepest > 8 {
        return Err("its index is nested deeper than weights need".into());
    }
    Ok(Object::Tuple(Rc::new(items.into_iter().map(flat).collect()), deepest))
}

fn global(module: &str, name: &str) -> Step<Global> {
    let dtype = |dtype| Ok(Global::StorageType(dtype));
    match (module, name) {
        ("collections", "OrderedDict") => Ok(Global::OrderedDict),
        ("torch._utils", "_rebuild_tensor_v2") => Ok(Global::RebuildTensor),
        ("torch._utils", "_rebuild_parameter") => Ok(Global::RebuildParameter),
        ("torch", "FloatStorage") => dtype(DType::F32),
        ("torch", "HalfStorage") => dtype(DType::F16),
        ("torch", "BFloat16Storage") => dtype(DType::BF16),
        ("torch", "DoubleStorage") => dtype(DType::F64),
        _ => Err(format!("its index asks for {module}.{name}; weights do not need that, and nothing was executed")),
    }
}

fn storage(id: &Object) -> Option<Storage> {
    let Object::Tuple(items, _) = id else { return None };
    let [
        Object::Text(kind),
        Object::Global(Global::StorageType(dtype)),
        Object::Text(key),
        Object::Text(_),
        Object::Int(elements),
    ] = items.as_slice()
    else {
        return None;
    };
    let plain = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    (&**kind == "storage" && plain)
        .then(|| Some(Storage { key: key.to_string(), dtype: *dtype, elements: usize::try_from(*elements).ok()? }))?
}

/// Whether a tensor is one whose values differ from what is stored: PyTorch says so in an argument of its own.
fn is_changed_view(callable: &Object, args: &Object) -> bool {
    let (Object::Global(Global::RebuildTensor), Object::Tuple(args, _)) = (callable, args) else { return false };
    args.get(6).is_some_and(|more| !matches!(more, Object::None))
}

fn reduce(callable: &Object, args: &Object) -> Option<Object> {
    let (Object::Global(global), Object::Tuple(args, _)) = (callable, args) else { return None };
    match (global, args.as_slice()) {
        (Global::OrderedDict, []) => Some(Object::Dict(Rc::default())),
        (Global::RebuildParameter, [tensor @ Object::Tensor(_), ..]) => Some(tensor.clone()),
        (Global::RebuildTensor, [Object::Storage(storage), Object::Int(offset), shape, stride, ..]) => {
            let (shape, stride) = (sizes(shape)?, sizes(stride)?);
            let offset = usize::try_from(*offset).ok()?;
            (shape.len() == stride.len())
                .then(|| Object::Tensor(Rc::new(TensorRef { storage: storage.clone(), offset, shape, stride })))
        }
        _ => None,
    }
}

fn sizes(object: &Object) -> Option<Vec<usize>> {
    let Object::Tuple(items, _) = object else { return None };
    let size = |item: &Object| match item {
        Object::Int(n) => usize::try_from(*n).ok(),
        _ => None,
    };
    items.iter().map(size).collect()
}
