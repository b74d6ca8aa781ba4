// The slide itself: OpenSeadragon, a canvas with the marks above it, the scale bar.

import { draw } from "./marks.js";
import { showScale } from "./scale_bar.js";

const SURROUNDINGS = 4; // a glomerulus is shown with as many times its width
const ZOOM_STEP = 1.6;

export class SlideView {
  /**
   * `onPick(x, y, slack)` is called for a click, in image pixels; `onTrouble(place)` with the address
   * of pixels that could not be had. */
  constructor(element, { onPick, onTrouble }) {
    this.marks = null;
    this.mpp = null;
    this.onDrag = null; // (phase, x, y): takes what is dragged, in image pixels; null: the slide moves
    this.still = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
    // OpenSeadragon looks for this mark before it adds a style of its own, which the page's policy would block.
    const mark = document.createElementNS("urn:no-style", "style");
    mark.setAttribute("data-openseadragon-mobile-css", "");
    document.head.append(mark);
    this.osd = window.OpenSeadragon({
      element,
      drawer: "canvas", // also where there is no graphics card
      animationTime: this.still ? 0 : 0.7,
      immediateRender: true,
      showNavigationControl: false,
      showNavigator: true,
      navigatorId: "navigator", // in the panel: it covers no tissue
      navigatorBackground: "#fff",
      navigatorOpacity: 1,
      navigatorAutoFade: false,
      minZoomImageRatio: 0.6,
      maxZoomPixelRatio: 4,
      visibilityRatio: 0.4,
      gestureSettingsMouse: { clickToZoom: false, dblClickToZoom: true },
    });
    this.canvas = document.createElement("canvas");
    this.canvas.id = "marks";
    this.osd.canvas.after(this.canvas); // above the slide, below the navigator
    this.osd.addHandler("canvas-key", (e) => (e.preventDefaultAction = true)); // the page has its own
    this.osd.addHandler("canvas-click", (e) => {
      if (!e.quick || !this.toScreen || this.onDrag) return;
      const { scale, x, y } = this.toScreen;
      onPick((e.position.x - x) / scale, (e.position.y - y) / scale, 4 / scale);
    });
    for (const phase of ["press", "drag", "drag-end"]) {
      this.osd.addHandler(`canvas-${phase}`, (e) => {
        if (!this.onDrag || !this.toScreen) return;
        e.preventDefaultAction = true;
        const { scale, x, y } = this.toScreen;
        this.onDrag(phase.replace("drag-end", "end"), (e.position.x - x) / scale, (e.position.y - y) / scale);
      });
    }
    this.osd.addHandler("open-failed", (e) => onTrouble(e.source));
    this.osd.addHandler("tile-load-failed", (e) => onTrouble(e.tile.getUrl()));
    for (const event of ["open", "update-viewport", "resize", "animation"]) {
      this.osd.addHandler(event, () => this.redraw());
    }
  }

  /** Shows a slide; resolves once its first picture can be asked for, or cannot be had. */
  open(dzi, mpp) {
    this.mpp = mpp;
    return new Promise((resolve) => {
      this.osd.addOnceHandler("open", resolve);
      this.osd.addOnceHandler("open-failed", resolve);
      this.osd.open(dzi);
    });
  }

  close() {
    this.mpp = null;
    this.osd.close();
    this.redraw();
  }

  get isOpen() {
    return this.osd.isOpen();
  }

  show(marks) {
    this.marks = marks;
    this.redraw();
  }

  /** Marks a box, null for none; `travel` goes there. */
  select(box, travel) {
    if (this.marks) this.marks.selected = box;
    if (box && travel && this.isOpen) this.goTo(box);
    this.redraw();
  }

  /** {scale, x, y}: screen = image * scale + (x, y), in CSS pixels. */
  get toScreen() {
    const image = this.osd.world.getItemAt(0);
    if (!image) return null;
    const Point = window.OpenSeadragon.Point;
    const origin = image.imageToViewerElementCoordinates(new Point(0, 0));
    const far = image.imageToViewerElementCoordinates(new Point(1000, 0));
    return { scale: (far.x - origin.x) / 1000, x: origin.x, y: origin.y };
  }

  redraw() {
    const toScreen = this.toScreen;
    document.getElementById("scale").hidden = !toScreen || !this.mpp;
    if (!toScreen || !this.marks) {
      this.canvas.getContext("2d").clearRect(0, 0, this.canvas.width, this.canvas.height);
      Object.assign(this.canvas.dataset, { boxes: 0, outlines: 0 });
      return;
    }
    draw(this.canvas, toScreen, this.marks);
    if (this.mpp) showScale(this.mpp / toScreen.scale);
  }

  /** Image pixel in the middle of the view. */
  center() {
    const { x, y } = this.osd.viewport.viewportToImageCoordinates(this.osd.viewport.getCenter());
    return [x, y];
  }

  goTo([x0, y0, x1, y1], surroundings = SURROUNDINGS) {
    const side = surroundings * Math.max(x1 - x0, y1 - y0);
    const [x, y] = [(x0 + x1 - side) / 2, (y0 + y1 - side) / 2];
    const rect = this.osd.viewport.imageToViewportRectangle(x, y, side, side);
    this.osd.viewport.fitBounds(rect, this.still);
  }

  zoom(steps) {
    this.osd.viewport.zoomBy(ZOOM_STEP ** steps).applyConstraints();
  }

  pan(x, y) {
    const delta = this.osd.viewport.deltaPointsFromPixels(new window.OpenSeadragon.Point(x, y));
    this.osd.viewport.panBy(delta).applyConstraints();
  }

  home() {
    this.osd.viewport.goHome(this.still);
  }
}
