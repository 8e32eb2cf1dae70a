use candle_core::{Device, Tensor};
use copgen::model::kernels::PackedLinear;
use copgen::model::Precision;
use std::time::Instant;
fn main() {
    for th in [1usize, 2] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(th).build().unwrap();
        pool.install(|| for (m, k, n) in [(4096usize, 384usize, 1536usize), (4096, 1536, 384), (9216, 864, 96), (864, 9216, 96), (834, 1024, 4096), (2304, 96, 96), (1024, 1024, 1024), (96,256,16), (96,256,64),(96,256,512),(192,256,512)] {
            let a = Tensor::randn(0f32, 1.0, (m, k), &Device::Cpu).unwrap();
            let w = Tensor::randn(0f32, 1.0, (n, k), &Device::Cpu).unwrap();
            let l = PackedLinear::new(&w, None, 1, Precision::F32).unwrap();
            let reps = ((4e9 / (2 * m * k * n) as f64) as usize).clamp(5, 2000);
            for _ in 0..3 { l.forward(&a).unwrap(); }
            let mut all = vec![];
            for _ in 0..reps { let t = Instant::now(); l.forward(&a).unwrap(); all.push(t.elapsed().as_secs_f64()); }
            all.sort_by(f64::total_cmp);
            let f = (2 * m * k * n) as f64 / 1e9;
            println!("{m} {k} {n} {th} GFLOP/s {:.0} best {:.0}", f / all[all.len() / 2], f / all[0]);
        });
    }
}
