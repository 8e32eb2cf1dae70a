//! The shaders against the same statistic on the CPU. Needs a graphics adapter; Mesa's software one will do.

use copgen::ensemble::{Measure, Quantity, Realisation, Samples, Statistics, statistics};
use copgen::gpu::{Overlay, OverlayView, SpreadKernel, read_back};
use copgen::modality::{Mask, Modality, ModalityTable, Raster, Value};
use copgen::view;
use wgpu::util::DeviceExt;

fn device() -> (wgpu::Device, wgpu::Queue) {
    let instance = wgpu::Instance::default();
    pollster::block_on(instance.request_adapter(&wgpu::RequestAdapterOptions::default()))
        .map(|adapter| pollster::block_on(adapter.request_device(&wgpu::DeviceDescriptor::default())).expect("device"))
        .expect("no graphics adapter; install mesa-vulkan-drivers")
}

fn ensemble(m: &Modality, index: usize, length: usize, value: impl Fn(usize, usize) -> f32) -> Vec<Realisation> {
    (0..9)
        .map(|r| {
            let mut raster = Raster::constant(m.channels.len(), m.pixels, m.pixels, 0.0);
            for (i, v) in raster.data.iter_mut().enumerate() {
                *v = value(r, i);
            }
            let mut values = vec![None; length];
            values[index] = Some(Value::Image(raster));
            Realisation { index: r as u64, seed: 1, values, ..Realisation::default() }
        })
        .collect()
}

/// Something irregular in 0…1.
fn scatter(r: usize, i: usize) -> f32 {
    let n = (r as u32).wrapping_mul(2_654_435_761) ^ (i as u32).wrapping_mul(2_246_822_519);
    (n ^ (n >> 15)).wrapping_mul(739_982_445) as f32 / u32::MAX as f32
}

#[test]
fn shaders_agree_with_the_cpu() {
    let (device, queue) = device();
    let kernel = SpreadKernel::new(&device);
    let table = ModalityTable::published();
    for (name, value) in [
        ("S2L2A_20m", Box::new(|r, i| 900.0 + 4000.0 * scatter(r, i)) as Box<dyn Fn(usize, usize) -> f32>),
        ("S1RTC", Box::new(|r, i| 0.001 + 0.2 * scatter(r, i))),
        // Thousands of metres that differ by centimetres.
        ("DEM", Box::new(|r, i| 4300.0 + 0.05 * scatter(r, i))),
        ("LULC", Box::new(|r, i| [1.0, 2.0, 4.0, 11.0][(scatter(r, i) * 3.999) as usize])),
        ("cloud_mask", Box::new(|r, i| if i % 2 == 0 { 1.0 } else { (r % 3) as f32 })),
    ] {
        let index = table.index(name).expect("modality");
        let m = &table[index];
        let members = ensemble(m, index, table.len(), &value);
        let members: Vec<&Realisation> = members.iter().collect();
        let channel = m.channels.len() - 1;
        // Not one of the realisations, but like them.
        let observed = ensemble(m, index, table.len(), |r, i| value(r + 40, i)).remove(3);
        // A quarter of it is no data.
        let hole = Mask::from_fn(m.pixels, m.pixels, |pixel| pixel >= m.pixels * m.pixels / 4);
        let observed = observed.values[index].as_ref().and_then(Value::image).cloned();
        let observed = observed.and_then(|raster| raster.with_valid(&hole).ok());
        let observed = observed.as_ref();
        let indices = Quantity::of(m).into_iter().map(|(_, quantity)| quantity).skip(m.channels.len());
        let quantities: Vec<Quantity> = std::iter::once(Quantity::Channel(channel)).chain(indices).collect();
        for (&measure, &quantity) in
            Measure::of(m, true).iter().flat_map(|measure| quantities.iter().map(move |quantity| (measure, quantity)))
        {
            let samples = Samples::new(m, index, quantity, &members, observed, measure).expect("samples");
            assert_eq!((samples.count, samples.columns), (9, m.pixels));
            let found = kernel.run(&device, &queue, &samples).expect("run");
            let found = read_back(&device, &queue, &found).expect("values");
            let expected = samples.spread();
            assert_eq!(expected.valid(), measure.needs_truth().then_some(&hole), "{measure:?}");
            let expected: Vec<f32> =
                (0..found.len()).map(|i| if expected.is_valid(i) { expected.data[i] } else { -1.0 }).collect();
            assert_eq!(found.len(), m.pixels * m.pixels);
            let largest = expected.iter().copied().fold(0.0, f32::max);
            assert!(largest > 0.0);
            for (i, (a, b)) in found.iter().zip(&expected).enumerate() {
                let close = (a - b).abs() <= 2e-5 * largest + 1e-5 * b.abs();
                assert!(close, "{measure:?} of {quantity:?} of {name}, pixel {i}: {a} on the card, {b} on the CPU");
            }
        }
        // What is exported is what is shown.
        let exported = match statistics(m, index, &members).expect("statistics") {
            Statistics::Continuous { variance, .. } => variance,
            Statistics::Classes { disagreement, .. } => disagreement,
        };
        let usual = Measure::of(m, false)[0];
        let shown = Samples::new(m, index, Quantity::Channel(channel), &members, None, usual).expect("samples");
        assert_eq!(exported.channel(channel), shown.spread().data);
        let blind = Samples::new(
            m,
            index,
            Quantity::Channel(channel),
            &members,
            None,
            *Measure::of(m, true).last().expect("one"),
        );
        assert!(blind.is_err(), "nothing was observed");
    }
    let empty = Samples { data: Vec::new().into(), count: 0, columns: 4, rows: 4, measure: Measure::Range };
    assert!(kernel.run(&device, &queue, &empty).is_err());
}

/// Draws a spread over the left half of a small picture; returns RGBA rows.
fn drawn(opacity: f32) -> Vec<[u8; 4]> {
    const SIDE: u32 = 64;
    let (device, queue) = device();
    let format = wgpu::TextureFormat::Rgba8Unorm;
    let mut overlay = Overlay::new(&device, format, &view::colour_steps());
    // Two columns: realisations agree in the first, differ in the second.
    let samples =
        Samples { data: vec![5.0, 0.0, 5.0, 2.0].into(), count: 2, columns: 2, rows: 1, measure: Measure::Variance };
    let corners = [[-1.0, 1.0], [0.0, 1.0], [0.0, -1.0], [-1.0, -1.0]];
    overlay
        .prepare(&device, &queue, 1, &samples, &OverlayView { corners, range: [0.0, 1.0], opacity })
        .expect("prepared");
    let size = wgpu::Extent3d { width: SIDE, height: SIDE, depth_or_array_layers: 1 };
    let texture = device.create_texture_with_data(
        &queue,
        &wgpu::TextureDescriptor {
            label: None,
            size,
            mip_level_count: 1,
            sample_count: 1,
            dimension: wgpu::TextureDimension::D2,
            format,
            usage: wgpu::TextureUsages::RENDER_ATTACHMENT | wgpu::TextureUsages::COPY_SRC,
            view_formats: &[],
        },
        wgpu::util::TextureDataOrder::LayerMajor,
        &[200u8; (SIDE * SIDE * 4) as usize],
    );
    let view = texture.create_view(&wgpu::TextureViewDescriptor::default());
    let buffer = device.create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size: u64::from(SIDE * SIDE * 4),
        usage: wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::COPY_SRC,
        mapped_at_creation: false,
    });
    let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    {
        let attachment = wgpu::RenderPassColorAttachment {
            view: &view,
            depth_slice: None,
            resolve_target: None,
            ops: wgpu::Operations { load: wgpu::LoadOp::Load, store: wgpu::StoreOp::Store },
        };
        let descriptor = wgpu::RenderPassDescriptor {
            color_attachments: &[Some(attachment)],
            ..wgpu::RenderPassDescriptor::default()
        };
        let mut pass = encoder.begin_render_pass(&descriptor).forget_lifetime();
        overlay.paint(&mut pass);
    }
    encoder.copy_texture_to_buffer(
        texture.as_image_copy(),
        wgpu::TexelCopyBufferInfo {
            buffer: &buffer,
            layout: wgpu::TexelCopyBufferLayout { offset: 0, bytes_per_row: Some(SIDE * 4), rows_per_image: None },
        },
        size,
    );
    queue.submit([encoder.finish()]);
    let words = read_back(&device, &queue, &buffer).expect("pixels");
    words.iter().map(|word| word.to_bits().to_le_bytes()).collect()
}

#[test]
fn the_overlay_lies_where_it_belongs_in_the_colours_of_its_legend() {
    let colours = view::colour_steps();
    let row = &drawn(1.0)[32 * 64..33 * 64];
    let near = |found: [u8; 4], expected: [u8; 3]| {
        assert!((0..3).all(|i| found[i].abs_diff(expected[i]) <= 2), "{found:?} should be {expected:?}");
    };
    near(row[8], colours[0]);
    near(row[24], colours[colours.len() - 1]);
    near(row[40], [200; 3]);
    let half = drawn(0.5)[32 * 64 + 24];
    let mixed = colours[colours.len() - 1].map(|c| (u16::from(c) / 2 + 100) as u8);
    near(half, mixed);
}
