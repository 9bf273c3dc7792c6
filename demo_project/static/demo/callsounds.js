// What a call sounds like: ringing here, ringing there, and its end. Made by WebAudio, so there is no file to load.

const RING = { notes: [784, 988, 1175, 988], step: 0.16, every: 2_600, volume: 0.16 };
const RINGBACK = { notes: [425], step: 1, every: 4_000, volume: 0.05 };
const END = { notes: [520, 390], step: 0.14, volume: 0.1 };

let context = null;

/** Rings until the returned function is called. @param {"ring" | "ringback"} kind */
export function ringing(kind) {
  const melody = kind === "ring" ? RING : RINGBACK;
  const sound = () => {
    play(melody);
    // Browsers that were not touched yet refuse to vibrate, and complain.
    if (kind === "ring" && navigator.userActivation?.hasBeenActive) navigator.vibrate?.([300, 150, 300]);
  };
  sound();
  const timer = setInterval(sound, melody.every);
  return () => {
    clearInterval(timer);
    if (kind === "ring" && navigator.userActivation?.hasBeenActive) navigator.vibrate?.(0);
  };
}

export function ended() {
  play(END);
}

function play({ notes, step, volume }) {
  context ??= new AudioContext();
  if (context.state === "suspended") context.resume(); // stays silent until the page was touched
  if (context.state !== "running") return;
  notes.forEach((frequency, at) => {
    const tone = context.createOscillator();
    const gain = context.createGain();
    const start = context.currentTime + at * step;
    tone.frequency.value = frequency;
    gain.gain.setValueAtTime(0, start);
    gain.gain.linearRampToValueAtTime(volume, start + 0.02);
    gain.gain.exponentialRampToValueAtTime(0.001, start + step * 1.8);
    tone.connect(gain).connect(context.destination);
    tone.start(start);
    tone.stop(start + step * 2);
  });
}
