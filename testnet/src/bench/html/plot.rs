//! Lines and bars as inline SVG. Lines differ by dashes too, not by colour alone.

use super::markup::escaped;

const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 340.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 46.0;
/// Kinds of lines there are.
const STYLES: usize = 8;

/// How values become places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scale {
    Linear,
    Log,
}

/// An axis with its marks.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Axis {
    label: String,
    scale: Scale,
    low: f64,
    high: f64,
    marks: Vec<(f64, String)>,
}

impl Axis {
    /// An axis with these marks, from the lowest to the highest.
    pub(super) fn marked(label: &str, marks: Vec<(f64, String)>) -> Self {
        let low = marks.first().map_or(0.0, |mark| mark.0);
        let high = marks.last().map_or(1.0, |mark| mark.0).max(low + 1e-9);
        Self { label: label.to_owned(), scale: Scale::Linear, low, high, marks }
    }

    /// From 0 to a round number above `most`, with about five marks.
    pub(super) fn from_zero(label: &str, most: f64) -> Self {
        let step = round_step(most.max(1e-3) / 5.0);
        let count = (most.max(1e-3) / step).ceil().max(1.0) as u32;
        let decimals = if step < 1.0 { (-step.log10().floor()).max(0.0) as usize } else { 0 };
        let mark = |number: u32| (f64::from(number) * step, format!("{:.decimals$}", f64::from(number) * step));
        Self::marked(label, (0..=count).map(mark).collect())
    }

    /// Powers of ten around the values, which are above zero.
    pub(super) fn log(label: &str, least: f64, most: f64) -> Self {
        let low = least.max(1e-3).log10().floor() as i32;
        let high = (most.max(1e-3).log10().ceil() as i32).max(low + 1);
        let mark = |power: i32| (10_f64.powi(power), format!("{}", 10_f64.powi(power)));
        Self { scale: Scale::Log, ..Self::marked(label, (low..=high).map(mark).collect()) }
    }

    /// Where a value is, from 0 to 1; those outside are at the ends.
    fn place(&self, value: f64) -> f64 {
        let place = match self.scale {
            Scale::Linear => (value - self.low) / (self.high - self.low),
            Scale::Log => (value.max(self.low).log10() - self.low.log10()) / (self.high.log10() - self.low.log10()),
        };
        if place.is_finite() { place.clamp(0.0, 1.0) } else { 0.0 }
    }
}

/// 1, 2 or 5 times a power of ten, not below `least`.
fn round_step(least: f64) -> f64 {
    let power = 10_f64.powf(least.log10().floor());
    [1.0, 2.0, 5.0].into_iter().map(|digit| digit * power).find(|step| *step >= least).unwrap_or(10.0 * power)
}

/// A line.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Series {
    pub(super) name: String,
    pub(super) points: Vec<(f64, f64)>,
}

/// Lines in one picture.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Lines {
    /// A word, for references within the page.
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    /// What it shows, for those who do not see it.
    pub(super) summary: String,
    pub(super) x: Axis,
    pub(super) y: Axis,
    pub(super) series: Vec<Series>,
}

impl Lines {
    /// The picture with its caption and legend.
    pub(super) fn figure(&self) -> String {
        let legend: String = self.series.iter().enumerate().map(legend_entry).collect();
        format!(
            "<figure>\n<figcaption>{}</figcaption>\n{}<ul class=\"legend\">\n{legend}</ul>\n</figure>\n",
            escaped(self.title),
            self.svg()
        )
    }

    fn svg(&self) -> String {
        let mut svg = opening(self.id, self.title, &self.summary, HEIGHT);
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        for (value, text) in &self.y.marks {
            let y = self.y_at(*value);
            svg.push_str(&format!("<line class=\"grid\" x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{right}\" y2=\"{y:.1}\"/>\n"));
            svg.push_str(&label(LEFT - 8.0, y + 4.0, "end", text));
        }
        for (value, text) in &self.x.marks {
            let x = self.x_at(*value);
            svg.push_str(&format!("<line class=\"grid\" x1=\"{x:.1}\" y1=\"{TOP}\" x2=\"{x:.1}\" y2=\"{bottom}\"/>\n"));
            svg.push_str(&label(x, bottom + 18.0, "middle", text));
        }
        svg.push_str(&label((LEFT + right) / 2.0, HEIGHT - 6.0, "middle", &self.x.label));
        let middle = (TOP + bottom) / 2.0;
        svg.push_str(&format!(
            "<text x=\"14\" y=\"{middle:.1}\" text-anchor=\"middle\" transform=\"rotate(-90 14 {middle:.1})\">{}</text>\n",
            escaped(&self.y.label)
        ));
        for (index, series) in self.series.iter().enumerate() {
            let place = |(x, y): &(f64, f64)| format!("{:.1},{:.1}", self.x_at(*x), self.y_at(*y));
            let points: Vec<_> = series.points.iter().map(place).collect();
            let style = index % STYLES;
            svg.push_str(&format!("<polyline class=\"curve s{style}\" points=\"{}\"/>\n", points.join(" ")));
        }
        svg.push_str("</svg>\n");
        svg
    }

    fn x_at(&self, value: f64) -> f64 {
        LEFT + self.x.place(value) * (WIDTH - LEFT - RIGHT)
    }

    fn y_at(&self, value: f64) -> f64 {
        HEIGHT - BOTTOM - self.y.place(value) * (HEIGHT - TOP - BOTTOM)
    }
}

fn legend_entry((index, series): (usize, &Series)) -> String {
    let style = index % STYLES;
    format!(
        "<li><svg viewBox=\"0 0 28 10\" aria-hidden=\"true\"><line class=\"curve s{style}\" x1=\"0\" y1=\"5\" x2=\"28\" \
         y2=\"5\"/></svg>{}</li>\n",
        escaped(&series.name)
    )
}

fn opening(id: &str, title: &str, summary: &str, height: f64) -> String {
    format!(
        "<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-labelledby=\"{id}-title {id}-desc\">\n\
         <title id=\"{id}-title\">{}</title>\n<desc id=\"{id}-desc\">{}</desc>\n",
        escaped(title),
        escaped(summary)
    )
}

fn label(x: f64, y: f64, anchor: &str, text: &str) -> String {
    format!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{}</text>\n", escaped(text))
}

/// A bar in two parts: what is there without load, and all of it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Bar {
    pub(super) name: String,
    pub(super) value: f64,
    pub(super) idle: f64,
    /// As it is written behind the bar.
    pub(super) text: String,
}

/// Bars in one picture.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Bars {
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    pub(super) summary: String,
    pub(super) bars: Vec<Bar>,
}

/// Height of a bar with the space below it.
const ROW: f64 = 34.0;
/// Where bars begin and how long the longest is.
const BAR_LEFT: f64 = 190.0;
const BAR_LENGTH: f64 = 480.0;

impl Bars {
    /// The picture with its caption.
    pub(super) fn figure(&self) -> String {
        let height = ROW * self.bars.len().max(1) as f64 + 8.0;
        let mut svg = opening(self.id, self.title, &self.summary, height);
        let most = self.bars.iter().map(|bar| bar.value.max(bar.idle)).fold(0.0, f64::max);
        let length = |value: f64| if most > 0.0 { (value / most * BAR_LENGTH).clamp(0.0, BAR_LENGTH) } else { 0.0 };
        for (index, bar) in self.bars.iter().enumerate() {
            let y = 8.0 + ROW * index as f64;
            svg.push_str(&label(BAR_LEFT - 10.0, y + 15.0, "end", &bar.name));
            for (class, value) in [("b0", bar.value), ("b1", bar.idle)] {
                let width = length(value);
                svg.push_str(&format!(
                    "<rect class=\"{class}\" x=\"{BAR_LEFT}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"22\" rx=\"3\"/>\n"
                ));
            }
            let x = BAR_LEFT + length(bar.value.max(bar.idle)) + 8.0;
            let text = escaped(&bar.text);
            svg.push_str(&format!("<text class=\"value\" x=\"{x:.1}\" y=\"{:.1}\">{text}</text>\n", y + 15.0));
        }
        svg.push_str("</svg>\n");
        format!("<figure>\n<figcaption>{}</figcaption>\n{svg}</figure>\n", escaped(self.title))
    }
}

#[cfg(test)]
mod tests {
    use super::super::markup::tests::assert_well_formed;
    use super::*;

    fn lines(points: Vec<(f64, f64)>) -> Lines {
        Lines {
            id: "test",
            title: "Lines",
            summary: "a < b & c".to_owned(),
            x: Axis::from_zero("x", 10.0),
            y: Axis::log("<y>", 0.5, 900.0),
            series: vec![Series { name: "one & two".to_owned(), points }],
        }
    }

    #[test]
    fn a_picture_is_well_formed_and_says_what_it_shows() {
        let figure = lines(vec![(0.0, 1.0), (10.0, 1000.0)]).figure();
        assert_well_formed(&figure);
        assert!(
            figure.contains("a &lt; b &amp; c") && figure.contains("&lt;y&gt;") && figure.contains("one &amp; two")
        );
        assert!(figure.contains("aria-labelledby=\"test-title test-desc\""));
    }

    #[test]
    fn values_are_where_they_belong_and_never_outside() {
        let lines = lines(Vec::new());
        assert_eq!((lines.x_at(0.0), lines.x_at(10.0)), (LEFT, WIDTH - RIGHT));
        // 0.1 to 1000: 10 is in the middle.
        assert!((lines.y_at(10.0) - f64::midpoint(TOP, HEIGHT - BOTTOM)).abs() < 1e-6);
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, 0.0, 1e300] {
            assert!((LEFT..=WIDTH - RIGHT).contains(&lines.x_at(value)), "{value}");
            assert!((TOP..=HEIGHT - BOTTOM).contains(&lines.y_at(value)), "{value}");
        }
    }

    #[test]
    fn axes_end_at_round_numbers() {
        let marks = |axis: Axis| axis.marks.into_iter().map(|(_, text)| text).collect::<Vec<_>>();
        assert_eq!(marks(Axis::from_zero("", 47.0)), ["0", "10", "20", "30", "40", "50"]);
        assert_eq!(marks(Axis::from_zero("", 0.9)), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(marks(Axis::log("", 0.5, 900.0)), ["0.1", "1", "10", "100", "1000"]);
        assert_eq!(marks(Axis::log("", 1.0, 1.0)), ["1", "10"]);
        assert!(!marks(Axis::from_zero("", 0.0)).is_empty());
    }

    #[test]
    fn bars_are_well_formed_also_when_there_is_nothing() {
        let bar = |value, idle| Bar { name: "<nodes>".to_owned(), value, idle, text: "12 % & more".to_owned() };
        for bars in [vec![bar(12.0, 3.0), bar(0.0, 0.0)], vec![bar(0.0, 0.0)], Vec::new()] {
            let figure = Bars { id: "b", title: "Bars", summary: String::new(), bars }.figure();
            assert_well_formed(&figure);
            assert!(!figure.contains("NaN"));
        }
    }
}
