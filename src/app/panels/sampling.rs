//! How many realisations, how exactly, from which seed; start, progress, stop, and what waits.

use crate::app::command::Command;
use crate::app::kit::theme;
use crate::app::kit::widgets;
use crate::app::state::runs::RunState;
use crate::app::state::session::Session;
use crate::files::size_text;
use crate::job::Request;
use crate::model::{Computing, DeviceChoice, Precision};
use crate::sampler::{ConditionLatent, IgnoredMode, KeepQuality, Preset, Role, SamplerOptions, Solver};
use egui::{DragValue, RichText, Ui, vec2};

/// Draws it.
pub(crate) fn show(ui: &mut Ui, session: &Session, commands: &mut Vec<Command>) {
    ui.heading("Sampling");
    egui::Grid::new("sampling").num_columns(2).spacing(vec2(12.0, 6.0)).show(ui, |ui| {
        let mut samples = session.samples;
        let label = ui.label("Realisations");
        ui.horizontal(|ui| {
            let field = DragValue::new(&mut samples).range(1..=200).speed(0.1);
            if ui.add(field).labelled_by(label.id).on_hover_text("Plausible answers to draw").changed() {
                commands.push(Command::Samples(samples));
            }
            let mut steps = session.options.steps;
            let label = ui.label("Steps");
            let field = DragValue::new(&mut steps).range(1..=200).speed(0.2);
            let hover = "Network evaluations per realisation; the presets below choose solver and steps together";
            if ui.add(field).labelled_by(label.id).on_hover_text(hover).changed() {
                commands.push(Command::Steps(steps));
            }
        });
        ui.end_row();
        ui.label("Preset");
        presets(ui, session, commands);
        ui.end_row();
        // A cascade takes what is known in one evaluation: there is nothing to choose.
        let probed = session.model.as_ref().is_some_and(|model| model.manifest.has_autoencoders());
        if probed && !session.choices.now().keep.is_empty() {
            ui.label("Kept pixels");
            keeping(ui, session, commands);
            ui.end_row();
        }
        let label = ui.label("Seed");
        ui.horizontal(|ui| {
            let mut seed = session.seed;
            let field = DragValue::new(&mut seed).speed(0.1);
            let hover = "The same seed gives the same realisations";
            if ui.add_enabled(!session.random_seed, field).labelled_by(label.id).on_hover_text(hover).changed() {
                commands.push(Command::Seed(seed));
            }
            let next = ui.add_enabled(!session.random_seed, egui::Button::new("Next"));
            if next.on_hover_text("Another seed, so other realisations").clicked() {
                commands.push(Command::Seed(session.seed.wrapping_add(1)));
            }
            let mut random = session.random_seed;
            let hover = "Each run takes a seed of its own; it is shown here and kept with the run";
            if ui.checkbox(&mut random, "random").on_hover_text(hover).changed() {
                commands.push(Command::RandomSeed(random));
            }
        });
        ui.end_row();
    });
    ui.collapsing("Advanced", |ui| advanced(ui, session, commands));
    let request = session.request();
    if session.busy() {
        progress(ui, session, commands);
        if ui.add_enabled(request.is_ok(), egui::Button::new("Queue these choices")).clicked() {
            commands.push(Command::Generate);
        }
        queue(ui, session, commands);
        return;
    }
    let button =
        egui::Button::new(RichText::new("Generate").strong().color(egui::Color32::BLACK)).fill(theme::SYNTHETIC);
    let size = vec2(ui.available_width(), 32.0);
    if ui.add_enabled_ui(request.is_ok(), |ui| ui.add_sized(size, button)).inner.clicked() {
        commands.push(Command::Generate);
    }
    match &request {
        Err(reason) => {
            ui.label(RichText::new(reason.to_string()).small().color(theme::ink(ui.visuals(), theme::ALERT)));
        }
        Ok(request) => summary(ui, session, request),
    }
}

/// How exactly to solve, in one click.
fn presets(ui: &mut Ui, session: &Session, commands: &mut Vec<Command>) {
    let now = Preset::of(&session.options);
    ui.horizontal(|ui| {
        ui.spacing_mut().item_spacing.x = 4.0;
        for preset in Preset::ALL {
            let options = preset.applied_to(&session.options);
            let hover = format!(
                "{} evaluations of {}. With the bundled model the result ends {} % of the spread between realisations away from the exact solution ({} % with its weights in bfloat16).",
                options.steps,
                options.solver.name(),
                preset.deviation_percent(),
                Preset::BFLOAT16_PERCENT
            );
            let button = egui::Button::selectable(now == Some(preset), preset.name());
            if ui.add(button).on_hover_text(hover).clicked() {
                commands.push(Command::Options(options, session.post));
            }
        }
    });
}

/// How closely realisations are fitted to what is kept, which costs evaluations.
fn keeping(ui: &mut Ui, session: &Session, commands: &mut Vec<Command>) {
    ui.horizontal(|ui| {
        ui.spacing_mut().item_spacing.x = 4.0;
        for quality in [KeepQuality::Quick, KeepQuality::Careful] {
            let button = egui::Button::selectable(session.options.keep == quality, quality.name());
            let hover = format!(
                "Up to {} evaluations for each of the {} steps, to fit what is sampled to the pixels that are kept",
                1 + quality.probes(),
                session.options.steps
            );
            if ui.add(button).on_hover_text(hover).clicked() {
                let options = SamplerOptions { keep: quality, ..session.options.clone() };
                commands.push(Command::Options(options, session.post));
            }
        }
        ui.label(RichText::new(format!("{} × the work", 1 + session.options.keep.probes())).small().weak());
    });
}

fn summary(ui: &mut Ui, session: &Session, request: &Request) {
    let given = request.roles.with(Role::Given).len();
    let generated = request.roles.with(Role::Generated).len();
    let memory = session.memory(request).map(|bytes| format!(" · about {}", size_text(bytes))).unwrap_or_default();
    let text = format!("{generated} modalities from {given} given, {} realisations{memory}", request.samples);
    ui.label(RichText::new(text).small().weak()).on_hover_text("Estimated memory of the whole run");
}

fn advanced(ui: &mut Ui, session: &Session, commands: &mut Vec<Command>) {
    let (mut options, mut post) = (session.options.clone(), session.post);
    let condition = |choice| match choice {
        ConditionLatent::Mean => "mean of the encoder",
        ConditionLatent::SharedDraw => "one draw for all (published code)",
        ConditionLatent::DrawPerRealisation => "a draw for each realisation",
    };
    let ignored = |choice| match choice {
        IgnoredMode::GenerateAndDiscard => "generate and discard",
        IgnoredMode::NoiseAtEnd => "pure noise: unknown",
        IgnoredMode::FreshNoiseAtZero => "fresh noise at time 0 (published code)",
    };
    egui::Grid::new("advanced").num_columns(2).spacing(vec2(12.0, 4.0)).show(ui, |ui| {
        ui.label(RichText::new("Solver").small());
        let list = egui::ComboBox::from_id_salt("solver").selected_text(options.solver.name()).width(180.0);
        let response = list.show_ui(ui, |ui| {
            for solver in Solver::ALL {
                let hover = "DPM-Solver++ singlestep is the published one";
                if ui.selectable_value(&mut options.solver, solver, solver.name()).on_hover_text(hover).changed() {
                    options.grid = None;
                }
            }
        });
        widgets::named(&response.response, egui::Role::ComboBox, "Solver");
        ui.end_row();
        ui.label(RichText::new("Compute on").small());
        computing(ui, session, commands);
        ui.end_row();
        ui.label(RichText::new("Given latents").small());
        let list = egui::ComboBox::from_id_salt("condition").selected_text(condition(options.condition)).width(180.0);
        let response = list.show_ui(ui, |ui| {
            for choice in [ConditionLatent::Mean, ConditionLatent::SharedDraw, ConditionLatent::DrawPerRealisation] {
                ui.selectable_value(&mut options.condition, choice, condition(choice));
            }
        });
        widgets::named(&response.response, egui::Role::ComboBox, "Given latents");
        ui.end_row();
        ui.label(RichText::new("Ignored").small());
        let list = egui::ComboBox::from_id_salt("ignored").selected_text(ignored(options.ignored)).width(180.0);
        let response = list.show_ui(ui, |ui| {
            for choice in [IgnoredMode::GenerateAndDiscard, IgnoredMode::NoiseAtEnd, IgnoredMode::FreshNoiseAtZero] {
                ui.selectable_value(&mut options.ignored, choice, ignored(choice));
            }
        });
        widgets::named(&response.response, egui::Role::ComboBox, "Ignored modalities");
        ui.end_row();
    });
    let hover = "One more evaluation at the end, whose answer is the result; off in the published code";
    ui.checkbox(&mut options.final_denoise, "final denoising").on_hover_text(hover);
    let hover = "Sentinel-2 is kept within 0…10000 DN; the published code does not";
    ui.checkbox(&mut post.clip_reflectance, "clip reflectance").on_hover_text(hover);
    if (&options, post) != (&session.options, session.post) {
        commands.push(Command::Options(options, post));
    }
}

/// Devices, with how weights are held there.
fn computing(ui: &mut Ui, session: &Session, commands: &mut Vec<Command>) {
    let all = [
        ("automatic", DeviceChoice::Auto, Precision::F32, "A graphics adapter if there is one with room, else the CPU"),
        ("CPU", DeviceChoice::Cpu, Precision::F32, "Float32, the reference"),
        (
            "CPU, 16-bit integers",
            DeviceChoice::Cpu,
            Precision::I16,
            "Faster, in half the memory; outputs differ by some thousandths",
        ),
        (
            "CPU, bfloat16",
            DeviceChoice::Cpu,
            Precision::Bf16,
            "Half the memory, and fast on processors with a matrix unit (AMX); outputs differ by some hundredths",
        ),
        (
            "CPU, 8-bit integers",
            DeviceChoice::Cpu,
            Precision::I8,
            "A quarter of the memory, and fastest on processors with a matrix unit (AMX), elsewhere as 16-bit integers; outputs \
             differ by some hundredths",
        ),
        ("graphics adapter", DeviceChoice::Gpu, Precision::F32, "The best there is, also one made of software"),
        (
            "graphics adapter, half precision",
            DeviceChoice::Gpu,
            Precision::F16,
            "Half the memory; outputs differ by some thousandths",
        ),
    ];
    let now = &session.computing;
    let is = |device: DeviceChoice, precision: Precision| now.device == device && now.precision == precision;
    let name = all.iter().find(|(_, device, precision, _)| is(*device, *precision)).map_or("other", |(name, ..)| name);
    let manifest = session.model.as_ref().map(|model| &model.manifest);
    let offered = |precision: Precision| manifest.is_none_or(|manifest| manifest.holds_as(precision));
    let list = egui::ComboBox::from_id_salt("computing").selected_text(name).width(180.0).show_ui(ui, |ui| {
        for (name, device, precision, hover) in all.into_iter().filter(|&(_, _, precision, _)| offered(precision)) {
            if ui.selectable_label(is(device, precision), name).on_hover_text(hover).clicked() {
                commands.push(Command::Computing(Computing { device, precision }));
            }
        }
    });
    let response = list.response;
    let response = if manifest.is_some_and(|manifest| manifest.cascade.is_some()) {
        response.on_hover_text("A graphics adapter draws this model's pixels; all the rest is computed on the CPU")
    } else {
        response
    };
    widgets::named(&response, egui::Role::ComboBox, "Compute on");
}

fn progress(ui: &mut Ui, session: &Session, commands: &mut Vec<Command>) {
    let Some(run) = session.runs.working() else { return };
    let (done, total, eta) = run.progress;
    let share = if total == 0 { 0.0 } else { done as f32 / total as f32 };
    let left = eta.map(|eta| format!(" · about {} s left", eta.as_secs() + 1)).unwrap_or_default();
    let text = if total == 0 { run.stage.to_string() } else { format!("step {done} of {total}{left}") };
    ui.add(egui::ProgressBar::new(share).text(text).fill(theme::SYNTHETIC.gamma_multiply(0.7)));
    ui.horizontal(|ui| {
        let stopping = run.state == RunState::Stopping;
        if ui
            .add_enabled(!stopping, egui::Button::new("Stop"))
            .on_hover_text("Finished realisations are kept")
            .clicked()
        {
            commands.push(Command::Stop);
        }
        let stage = if stopping { "Stopping after this evaluation".to_owned() } else { run.stage.to_string() };
        ui.label(RichText::new(format!("{stage} · {} finished", run.realisations.len())).small().weak());
    });
}

/// What waits, each with a way out.
fn queue(ui: &mut Ui, session: &Session, commands: &mut Vec<Command>) {
    for (place, (run, samples)) in session.runs.waiting().enumerate() {
        ui.horizontal(|ui| {
            let button = ui.small_button("×").on_hover_text("Take it out of the queue");
            widgets::named(&button, egui::Role::Button, format!("Withdraw {}", place + 1));
            if button.clicked() {
                commands.push(Command::Withdraw(place));
            }
            let tile = &run.observed.observation.tile;
            let text = format!("then {samples} of seed {}, {tile}", run.request.seed);
            ui.add(egui::Label::new(RichText::new(text).small().weak()).truncate());
        });
    }
}
