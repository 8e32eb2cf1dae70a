//! What the gallery and the map show: textures made from what the queue painted.

use crate::app::state::session::Session;
use crate::app::state::ticket::Requests;
use crate::app::state::tools::Tool;
use crate::app::view::gallery_zoom::GalleryZoom;
use crate::app::work::paint::{self, Before, Distances, Gallery, GalleryOrder, Picture, Rendering};
use crate::ensemble::{Agreement, Measure, Quantity, Samples, kept};
use crate::job::Keep;
use crate::modality::{ClassMap, Location, Modality, ModalityTable, Subject};
use crate::sampler::Role;
use crate::view::{self, AreaFigures, Spot, Stretch};
use egui::{TextureHandle, TextureOptions};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

/// The picture on the map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Base {
    /// None: the map alone.
    None,
    /// What was observed at the picked place.
    Observed,
    /// Another scene of the same ground.
    Reference,
    /// Mean (or most frequent class) of the realisations.
    Mean,
    /// One realisation.
    Realisation(u64),
}

/// Order of the gallery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sort {
    /// By number.
    #[default]
    Number,
    /// Nearest to the mean first.
    Mean,
    /// Nearest to what was observed, or to the reference, first.
    Observed,
}

/// Where the realisations disagree in one quantity.
#[derive(Debug, Clone)]
pub struct Spread {
    /// Identifies the samples, so that the shader runs once for each.
    pub id: u64,
    /// What is compared.
    pub quantity: Quantity,
    /// Data.
    pub samples: Samples,
    /// Values at both ends of the legend.
    pub range: [f32; 2],
}

/// What is kept of a partly given modality.
struct Kept {
    keep: Keep,
    /// Name of the place and window.
    place: String,
    share: Option<f64>,
    hatching: Option<TextureHandle>,
}

/// See the module.
pub struct Shown {
    /// Modality of the gallery and of the picture on the map.
    pub modality: usize,
    /// Which of [`view::looks`] the pictures are.
    pub look: usize,
    /// Whether each picture has a stretch of its own.
    pub own_stretch: bool,
    /// Which of the modality's quantities is compared over realisations.
    pub quantity: usize,
    /// Which of the measures of spread that make sense is shown.
    pub measure: usize,
    /// Picture on the map.
    pub base: Base,
    /// What a blink goes back to.
    pub before: Option<Base>,
    /// Whether the spread lies over it.
    pub spread_wanted: bool,
    /// Opacity of the picture on the map.
    pub picture_opacity: f32,
    /// Values at both ends of the legend of spread that were set by hand.
    pub fixed_range: Option<[f32; 2]>,
    /// Opacity of the spread.
    pub opacity: f32,
    /// What was observed at the picked place, by modality, each with its own stretch.
    pub thumbnails: Vec<Option<TextureHandle>>,
    /// What was observed where the run samples, with the gallery's stretch.
    pub observed: Option<TextureHandle>,
    /// What the reference shows there, painted alike.
    pub reference: Option<TextureHandle>,
    /// How near all come to it: where something was sampled, and where it was kept as observed.
    pub agreement: [Option<Agreement>; 2],
    /// Realisations by number.
    pub realisations: BTreeMap<u64, TextureHandle>,
    /// Mean of the realisations.
    pub mean: Option<TextureHandle>,
    /// How far each realisation is from the mean and from what was observed.
    pub distances: BTreeMap<u64, Distances>,
    /// The gallery's order.
    pub sort: Sort,
    /// Where the picture on the map gives way to what was observed, as a share of its width; `None` without a swipe.
    pub swipe: Option<f32>,
    /// Their spread.
    pub spread: Option<Spread>,
    /// The part of a picture that the gallery shows.
    pub gallery_zoom: GalleryZoom,
    /// Since when the realisation that is shown is; while one is shown after another.
    pub playing: Option<Instant>,
    /// What the pointer does on the map.
    pub tool: Tool,
    /// The path that is measured.
    pub ruler: Vec<Location>,
    /// The area that is marked, by its north-western and south-eastern corners.
    pub area: Option<[Spot; 2]>,
    /// Figures of it.
    pub area_figures: Option<AreaFigures>,
    /// Classes painted by hand and given, by modality: the map, and its picture.
    pub painted_classes: BTreeMap<usize, (Arc<ClassMap>, TextureHandle)>,
    /// Of partly given modalities, by modality: what is kept, where, and hatching over what is sampled.
    kept: BTreeMap<usize, Kept>,
    /// The spot that is inspected.
    pub spot: Option<Spot>,
    /// Latest preview: realisation, modality, picture.
    pub preview: Option<(u64, usize, TextureHandle)>,
    /// Whether no result of the latest run was shown yet.
    pub fresh_run: bool,
    /// Whether what is shown can be compared with something that is known.
    truth: bool,
    /// Requests to paint the gallery.
    requests: Requests,
    /// Number of the request whose answer is shown.
    answered: u64,
    /// How the pictures that are shown were painted, if any are.
    painted: Option<(Rendering, Stretch)>,
}

impl Default for Shown {
    fn default() -> Self {
        Self {
            modality: 0,
            look: 0,
            own_stretch: false,
            quantity: 0,
            measure: 0,
            base: Base::Observed,
            before: None,
            spread_wanted: false,
            picture_opacity: 1.0,
            fixed_range: None,
            opacity: 0.75,
            thumbnails: Vec::new(),
            observed: None,
            reference: None,
            agreement: [None; 2],
            realisations: BTreeMap::new(),
            mean: None,
            distances: BTreeMap::new(),
            sort: Sort::default(),
            swipe: None,
            spread: None,
            gallery_zoom: GalleryZoom::default(),
            playing: None,
            tool: Tool::default(),
            ruler: Vec::new(),
            area: None,
            area_figures: None,
            painted_classes: BTreeMap::new(),
            kept: BTreeMap::new(),
            truth: false,
            spot: None,
            preview: None,
            fresh_run: false,
            requests: Requests::default(),
            answered: 0,
            painted: None,
        }
    }
}

fn texture(ctx: &egui::Context, name: &str, image: Picture) -> TextureHandle {
    // Pixels are measurements: they stay sharp squares when enlarged.
    let options = TextureOptions { minification: egui::TextureFilter::Linear, ..TextureOptions::NEAREST };
    ctx.load_texture(name, image, options)
}

impl Shown {
    /// Shows another modality; its pictures come with the next [`painted`](Self::painted).
    pub fn show_modality(&mut self, modality: usize) {
        self.modality = modality;
        self.look = 0;
        (self.quantity, self.measure, self.fixed_range) = (0, 0, None);
        self.forget_run();
    }

    /// What the picture on the map is: pictures of a run are looked at as the gallery's are, others in the usual way.
    pub fn caption(&self, m: &Modality, session: &Session) -> String {
        if self.base == Base::Observed && self.painting(self.modality).is_some() {
            return "painted by hand".into();
        }
        let looks = view::looks(m);
        let usual = self.base == Base::Observed && self.observed_here(session).is_none();
        let chosen = looks.get(if usual { 0 } else { self.look }).or(looks.first());
        chosen.map(|(name, _)| name.clone()).unwrap_or_default()
    }

    /// What was observed at the picked place, looked at as the gallery's pictures are; if there is one.
    pub fn observed_here(&self, session: &Session) -> Option<&TextureHandle> {
        self.observed.as_ref().filter(|_| session.run_is_here())
    }

    /// The measure of spread that is shown for a modality.
    pub fn measure(&self, m: &Modality) -> Measure {
        let all = Measure::of(m, self.truth);
        all.get(self.measure).copied().unwrap_or(all[0])
    }

    /// Values at both ends of the legend of spread.
    pub fn range(&self, spread: &Spread) -> [f32; 2] {
        self.fixed_range.unwrap_or(spread.range)
    }

    /// The contrast that all pictures of the gallery share, once they are painted.
    pub fn stretch(&self) -> Option<Stretch> {
        self.painted.as_ref().map(|(_, stretch)| *stretch)
    }

    /// What is compared over realisations of a modality.
    pub fn compared(&self, m: &Modality) -> Quantity {
        Quantity::of(m).get(self.quantity).map_or(Quantity::Channel(0), |(_, quantity)| *quantity)
    }

    /// Drops the pictures of a run.
    pub fn forget_run(&mut self) {
        self.before = None;
        self.observed = None;
        self.forget_reference();
        self.realisations.clear();
        self.mean = None;
        self.distances.clear();
        self.spread = None;
        self.area_figures = None;
        self.preview = None;
        self.playing = None;
        self.painted = None;
        // Pictures that are being painted are of what was forgotten.
        self.requests.next();
    }

    /// Drops the picture of the reference.
    pub fn forget_reference(&mut self) {
        (self.reference, self.agreement) = (None, [None; 2]);
        if self.base == Base::Reference {
            self.base = Base::Observed;
        }
    }

    /// What a swipe shows west of its line: the reference, or else what was observed where the run samples.
    pub fn beside(&self, session: &Session) -> Option<&TextureHandle> {
        self.reference.as_ref().or_else(|| self.observed_here(session))
    }

    /// Whether realisations can be compared with something that is known: a reference, or what was observed.
    pub fn has_truth(&self) -> bool {
        self.truth
    }

    /// The modality a newcomer should see first: surface reflectance at 10 m, else the first image.
    pub fn first_choice(table: &ModalityTable) -> usize {
        table.leading().unwrap_or(0)
    }

    /// Changes between what was observed and what was shown before it.
    pub fn blink(&mut self, pinned: &BTreeSet<u64>) {
        let now = self.base;
        self.base = match (now, self.before) {
            (Base::Observed, Some(before)) => before,
            (Base::Observed, None) => self.sorted(pinned).first().map_or(now, |&index| Base::Realisation(index)),
            _ => {
                self.before = Some(now);
                Base::Observed
            }
        };
    }

    /// Numbers of the painted realisations in the gallery's order; those that are pinned come first.
    pub fn sorted(&self, pinned: &BTreeSet<u64>) -> Vec<u64> {
        let mut all: Vec<u64> = self.realisations.keys().copied().collect();
        let far = |index: &u64| {
            let distances = self.distances.get(index).copied().unwrap_or_default();
            let chosen = match self.sort {
                Sort::Number => None,
                Sort::Mean => distances.mean,
                Sort::Observed => distances.observed,
            };
            chosen.unwrap_or(f32::INFINITY)
        };
        all.sort_by(|a, b| pinned.contains(b).cmp(&pinned.contains(a)).then(far(a).total_cmp(&far(b))).then(a.cmp(b)));
        all
    }

    /// Shows the picture so many places after this one: observed, reference, mean, then the realisations.
    pub fn step(&mut self, by: i32, pinned: &BTreeSet<u64>) {
        let mut all = vec![Base::Observed];
        all.extend(self.reference.as_ref().map(|_| Base::Reference));
        all.extend(self.mean.as_ref().map(|_| Base::Mean));
        all.extend(self.sorted(pinned).into_iter().map(Base::Realisation));
        let at = all.iter().position(|base| *base == self.base);
        let next = match at {
            Some(at) => (at as i64 + i64::from(by)).clamp(0, all.len() as i64 - 1) as usize,
            None => 0,
        };
        self.base = all[next];
    }

    /// Shows the next realisation, after the last the first.
    pub fn play(&mut self, pinned: &BTreeSet<u64>) {
        let all = self.sorted(pinned);
        let now = all.iter().position(|&index| self.base == Base::Realisation(index));
        let next = now.map_or(0, |now| (now + 1) % all.len());
        if let Some(&index) = all.get(next) {
            self.base = Base::Realisation(index);
        }
        self.playing = Some(Instant::now());
    }

    /// Takes thumbnails of a newly picked place.
    pub fn place(&mut self, ctx: &egui::Context, thumbnails: Vec<Option<Picture>>) {
        self.thumbnails =
            thumbnails.into_iter().map(|image| image.map(|image| texture(ctx, "thumbnail", image))).collect();
        if !self.thumbnails.get(self.modality).is_some_and(Option::is_some)
            && let Some(first) = self.thumbnails.iter().position(Option::is_some)
        {
            self.show_modality(first);
        }
        self.base = Base::Observed;
    }

    /// What has to be painted of the run that is looked at.
    pub fn gallery_order(&mut self, session: &Session) -> Option<GalleryOrder> {
        let (table, run) = (session.table()?, session.run()?);
        let m = table.get(self.modality).filter(|m| !m.is_scalar())?;
        let observed = run.observed.observation.values[self.modality].as_ref();
        let observed = observed.and_then(|given| given.value.image());
        let kept = kept(run.realisations.iter().map(AsRef::as_ref), self.modality);
        // What lies under a cloud is not the truth of what was sampled in its place.
        let partly = run.request.keep.contains_key(&self.modality);
        let sky = table.finest(Subject::Clouds).and_then(|sky| run.observed.observation.values[sky].as_ref());
        let sky = sky.and_then(|given| given.value.image());
        let reference = session.reference_raster(self.modality);
        self.truth = reference.is_some() || (observed.is_some() && !partly);
        let look = view::looks(m).get(self.look).map_or_else(|| view::usual_look(m), |(_, look)| *look);
        let compared = session.reference.as_ref().filter(|_| reference.is_some()).map(|other| other.dir.clone());
        let rendering = Rendering {
            run: run.id.clone(),
            modality: self.modality,
            look,
            own_stretch: self.own_stretch,
            reference: compared,
        };
        let before = self.painted.as_ref().filter(|(painted, _)| *painted == rendering).map(|(_, stretch)| Before {
            stretch: *stretch,
            realisations: self.distances.iter().map(|(index, distances)| (*index, distances.observed)).collect(),
        });
        let scale = observed.and_then(|raster| view::comparable(m, raster, kept, sky));
        let area = self.area.filter(|_| session.run_is_here());
        Some(GalleryOrder {
            ticket: self.requests.next(),
            m: m.clone(),
            rendering,
            quantity: self.compared(m),
            measure: self.measure(m),
            scale: scale.or_else(|| reference.cloned()),
            reference: reference.cloned(),
            observed: observed.cloned(),
            truth: observed.is_some() && !partly,
            realisations: run.realisations.clone(),
            before,
            area: area.map(|area| (area, table.clone(), run.known_rasters(table))),
        })
    }

    /// Whether what is shown of the run is of all that was ordered, and not of fewer realisations or another look.
    pub fn is_current(&self) -> bool {
        self.answered == self.requests.latest().number()
    }

    /// Takes what was painted last: what is not in it stays as it is.
    pub fn painted(&mut self, ctx: &egui::Context, gallery: Gallery) {
        self.not_painted();
        let Gallery { rendering, stretch, observed, reference, agreement, realisations, mean, distances, spread, area } =
            gallery;
        let texture = |name, picture| texture(ctx, name, picture);
        if let Some(picture) = observed {
            self.observed = Some(texture("observed", picture));
        }
        match (reference, &rendering.reference) {
            (_, None) => self.forget_reference(),
            (Some(picture), _) => self.reference = Some(texture("reference", picture)),
            (None, Some(_)) => {}
        }
        self.agreement = agreement;
        self.mean = mean.map(|picture| texture("mean", picture));
        self.realisations.retain(|index, _| distances.contains_key(index));
        let new = realisations.into_iter().map(|(index, picture)| (index, texture("realisation", picture)));
        self.realisations.extend(new);
        self.distances = distances;
        self.area_figures = area;
        let id = self.answered;
        self.spread = spread.map(|(quantity, samples, range)| Spread { id, quantity, samples, range });
        self.painted = Some((rendering, stretch));
    }

    /// The last order is answered, though with nothing to show.
    pub fn not_painted(&mut self) {
        self.answered = self.requests.latest().number();
    }

    /// Draws classes that were painted since the last frame.
    pub fn follow_painting(&mut self, ctx: &egui::Context, session: &Session) {
        let choices = session.choices.now();
        let given = |i: usize| choices.roles.get(i) == Some(&Role::Given) && choices.painted.contains_key(&i);
        self.painted_classes.retain(|&i, _| given(i));
        let Some(table) = session.table() else { return };
        for (&i, map) in choices.painted.iter().filter(|(i, _)| given(**i)) {
            let Some(m) = table.get(i) else { continue };
            if self.painted_classes.get(&i).is_none_or(|(drawn, _)| !Arc::ptr_eq(drawn, map)) {
                let picture = texture(ctx, "painted classes", paint::usual(m, &map.raster()));
                self.painted_classes.insert(i, (map.clone(), picture));
            }
        }
    }

    /// The picture of classes painted by hand, if there are any of this modality.
    pub fn painting(&self, modality: usize) -> Option<&TextureHandle> {
        self.painted_classes.get(&modality).map(|(_, texture)| texture)
    }

    /// Draws what will be sampled of partly given modalities, where that has changed since the last frame.
    pub fn follow_keeping(&mut self, ctx: &egui::Context, session: &Session) {
        let (choices, Some(observed)) = (session.choices.now(), &session.observed) else { return self.kept.clear() };
        self.kept.retain(|i, kept| choices.keep.contains_key(i) && kept.place == observed.observation.tile);
        for (&i, keep) in &choices.keep {
            if self.kept.get(&i).is_some_and(|kept| kept.keep == *keep) {
                continue;
            }
            let mask = session.mask_of(i, keep);
            let hatching = mask.as_ref().map(|mask| texture(ctx, "hatching", paint::hatching(mask)));
            let share = mask.map(|mask| mask.share());
            self.kept.insert(i, Kept { keep: keep.clone(), place: observed.observation.tile.clone(), share, hatching });
        }
    }

    /// Hatching over the pixels of a partly given modality that are sampled.
    pub fn hatching(&self, modality: usize) -> Option<&TextureHandle> {
        self.kept.get(&modality)?.hatching.as_ref()
    }

    /// Share of the pixels of a partly given modality that is kept, if it is known.
    pub fn kept_share(&self, modality: usize) -> Option<f64> {
        self.kept.get(&modality)?.share
    }

    /// Takes a preview.
    pub fn previewed(&mut self, ctx: &egui::Context, index: u64, modality: usize, image: Picture) {
        self.preview = Some((index, modality, texture(ctx, "preview", image)));
    }
}
