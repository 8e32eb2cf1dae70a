//! How this process uses the system's allocator and threads.

/// Asks glibc to keep freed memory instead of handing it back to the kernel.
///
/// The networks allocate and free tensors of megabytes all the time; with glibc's defaults each one is mapped, cleared
/// page by page and unmapped again, which took 40 % of the time of training on two cores. Elsewhere this does nothing.
/// Returns whether everything was accepted. To be called once, before threads start.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code)]
pub fn keep_freed_memory() -> bool {
    const MIB: libc::c_int = 1 << 20;
    let settings = [
        // The largest glibc takes; anything above is mapped by itself.
        (libc::M_MMAP_THRESHOLD, 32 * MIB),
        (libc::M_TRIM_THRESHOLD, libc::c_int::MAX),
        (libc::M_TOP_PAD, 64 * MIB),
        // Other arenas live in heaps of 64 MiB that are unmapped whenever they are empty.
        (libc::M_ARENA_MAX, 1),
    ];
    // SAFETY: mallopt only takes two integers and sets parameters of the allocator.
    settings.iter().all(|&(parameter, value)| unsafe { libc::mallopt(parameter, value) } == 1)
}

/// Nothing to ask for here.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn keep_freed_memory() -> bool {
    true
}

/// Keeps element-wise operations on the thread that asks for them, and with `products` matrix products too.
///
/// The library behind the networks has one pool for all element-wise operations: threads that compute side by
/// side would wait for each other there, spinning. To be called once, before threads start and before the first tensor.
#[allow(unsafe_code)]
pub fn keep_to_own_threads(products: bool) {
    const ELEMENT_WISE: &str = "CANDLE_NUM_THREADS";
    const PRODUCTS: &str = "RAYON_NUM_THREADS";
    for name in if products { &[ELEMENT_WISE, PRODUCTS][..] } else { &[ELEMENT_WISE] } {
        if std::env::var_os(name).is_none() {
            // SAFETY: no other thread runs yet that could read the environment meanwhile.
            unsafe { std::env::set_var(name, "1") };
        }
    }
}

/// Bytes of memory this process may hold: what is free, and what it holds already; `None` where the system does not tell.
pub fn memory_limit() -> Option<u64> {
    use sysinfo::{ProcessRefreshKind, ProcessesToUpdate, System};
    let mut system = System::new().ok()?;
    system.refresh_memory();
    let pid = sysinfo::get_current_pid().ok()?;
    let memory = ProcessRefreshKind::nothing().with_memory();
    system.refresh_processes_specifics(ProcessesToUpdate::Some(&[pid]), false, memory);
    let own = system.process(pid)?.memory();
    let free = system
        .cgroup_limits()
        .map_or(system.available_memory(), |group| system.available_memory().min(group.free_memory));
    (free > 0).then_some(free + own)
}

/// The most memory this process has held, bytes; `None` where the system does not tell.
#[cfg(target_os = "linux")]
pub fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kb| kb * 1024)
}

/// Not told here.
#[cfg(not(target_os = "linux"))]
pub fn peak_memory() -> Option<u64> {
    None
}

/// What a panic says.
pub fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|t| (*t).to_owned())).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #[test]
    fn there_is_memory_for_more_than_this_process_holds() {
        let block = vec![1u8; 64 << 20];
        let limit = super::memory_limit().expect("the system tells");
        assert!(limit > block.len() as u64 && limit < 1 << 50, "{limit}");
    }

    #[test]
    fn the_allocator_takes_the_settings_and_still_allocates() {
        assert!(super::keep_freed_memory());
        let sizes = [1usize << 10, 5 << 20, 40 << 20];
        let blocks: Vec<Vec<u8>> = sizes.iter().map(|&n| vec![7; n]).collect();
        assert!(blocks.iter().zip(sizes).all(|(block, n)| block.len() == n && block[n - 1] == 7));
    }
}
