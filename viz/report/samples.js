// Every sample, unpacked when the page is there and drawn when it is asked for.
const PAGE = 50; // problems that are listed at once
const PREVIEW = 90; // characters of a prompt in the list
let samples = null;

async function unpack(id) {
  const bytes = Uint8Array.from(atob(document.getElementById(id).textContent), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text());
}

// Turn the columns of each cell into one answer per problem: answers[problem][cell].
function byProblem({ problems, cells, texts }) {
  const answers = problems.map(() => []);
  cells.forEach((table, cell) => {
    (table.problem ?? []).forEach((problem, i) => {
      const column = (name) => table[name][i];
      answers[problem][cell] = {
        prompt: texts[column("prompt")], text: texts[column("text")], at: table.diverges[problem],
        tokens: column("output_tokens"), ttft_s: column("ttft_s"), decode_tokens_per_s: column("decode_tokens_per_s"),
        duration_s: column("duration_s"), score: column("score"), extracted: column("extracted"),
        finish: column("finish"), reason: column("reason"), code: column("reason_code"), outputs: column("outputs"),
      };
    });
  });
  return answers;
}

const baseOf = (problem, cell) => samples.answers[problem][samples.cells[cell].base];
function diverges(problem, cell) {
  const [own, base] = [samples.answers[problem][cell], baseOf(problem, cell)];
  return Boolean(own && base && own !== base && (own.at || own.text !== base.text));
}
const isFailed = (answer) => answer.finish === "error" || Boolean(answer.reason);
const shownAnswers = (problem) => visible.flatMap((cell) => (samples.answers[problem][cell] ? [samples.answers[problem][cell]] : []));

const WHICH = {
  all: () => true,
  diverges: (problem) => visible.some((cell) => diverges(problem, cell)),
  wrong: (problem) => shownAnswers(problem).some((answer) => answer.score !== null && answer.score < 1),
  split: (problem) => new Set(shownAnswers(problem).map((answer) => answer.score).filter((score) => score !== null)).size > 1,
  failed: (problem) => shownAnswers(problem).some(isFailed),
};

// Least first; problems that lack the figure come last.
function orderKey(problem, by) {
  const values = shownAnswers(problem).map((answer) => (by === "diverges" ? answer.at?.[0] : by === "tokens" ? answer.tokens : answer[by]));
  const known = values.filter((value) => value !== null && value !== undefined);
  if (!known.length) return Infinity;
  return by === "tokens" || by === "ttft_s" ? -Math.max(...known) : Math.min(...known);
}

function contains(problem, wanted) {
  if (samples.problems[problem][0].toLowerCase().includes(wanted)) return true;
  return shownAnswers(problem).some((answer) => answer.prompt.toLowerCase().includes(wanted) || answer.text.toLowerCase().includes(wanted));
}

const sampleForm = document.querySelector("#samples form");
const list = document.getElementById("problems");
const more = document.getElementById("more");
let rest = [];

function listProblems() {
  if (!samples) return;
  const wanted = sampleForm.elements.text.value.trim().toLowerCase();
  const by = sampleForm.elements.order.value;
  rest = samples.problems.map((_, problem) => problem).filter((problem) =>
    shownAnswers(problem).length && WHICH[sampleForm.elements.which.value](problem) && (!wanted || contains(problem, wanted)));
  if (by !== "given") {
    const keys = new Map(rest.map((problem) => [problem, orderKey(problem, by)]));
    rest.sort((a, b) => keys.get(a) - keys.get(b) || a - b);
  }
  document.getElementById("found").textContent = `${rest.length.toLocaleString("en")} of ${counted(samples.problems.length, "problem")}`;
  list.replaceChildren();
  listMore();
}

function listMore() {
  list.append(...rest.splice(0, PAGE).map(entry));
  more.hidden = !rest.length;
  more.textContent = `show ${Math.min(PAGE, rest.length)} more of ${rest.length.toLocaleString("en")}`;
}

function entry(problem) {
  const [name] = samples.problems[problem];
  const answers = shownAnswers(problem);
  const scored = answers.filter((answer) => answer.score !== null);
  const different = visible.filter((cell) => diverges(problem, cell)).length;
  const facts = [
    different ? `${different} of ${answers.length} diverge` : "",
    scored.length ? `${scored.filter((answer) => answer.score === 1).length} of ${scored.length} right` : "",
  ].filter(Boolean).join(" · ");
  const words = [...answers[0].prompt.replace(/\s+/g, " ").trim()]; // the end: examples and templates stand before it
  const prompt = `${words.length > PREVIEW ? "…" : ""}${words.slice(-PREVIEW).join("")}`;
  const made = element("details", {}, element("summary", {}, element("b", {}, name), " ", element("span", { class: "note" }, prompt), " ", element("small", {}, facts)));
  made.addEventListener("toggle", () => made.open && made.childElementCount === 1 && made.append(...whole(problem)));
  return made;
}

function whole(problem) {
  const reference = samples.problems[problem][1];
  const byPrompt = new Map();
  for (const cell of visible) {
    const answer = samples.answers[problem][cell];
    if (answer) byPrompt.set(answer.prompt, [...(byPrompt.get(answer.prompt) ?? []), data.cells[cell].label]);
  }
  const made = [...byPrompt].flatMap(([prompt, cells]) => [
    element("h3", {}, byPrompt.size > 1 ? `prompt of ${cells.join(", ")}` : "prompt"),
    element("p", { class: "prompt" }, prompt || "the log has no prompt"),
  ]);
  if (reference) made.push(element("p", { class: "note" }, "right answer: ", element("b", {}, reference)));
  const shown = visible.filter((cell) => samples.answers[problem][cell]);
  return [...made, element("div", { class: "answers" }, ...shown.map((cell) => answerOf(problem, cell)))];
}

function answerOf(problem, cell) {
  const answer = samples.answers[problem][cell];
  const base = baseOf(problem, cell);
  const output = element("p", { class: "output" });
  if (diverges(problem, cell) && answer.text !== base.text) output.append(...marked(answer.text, base.text));
  else output.append(answer.text || "no output");
  return element("div", { class: "answer" }, element("h3", {}, data.cells[cell].label), output, element("p", { class: "note" }, told(problem, cell).join(" · ")));
}

// The text with the place marked at which it leaves the other one; no character is cut in two.
function marked(text, other) {
  let same = 0;
  while (same < text.length && text[same] === other[same]) same++;
  if (same && /[\uD800-\uDBFF]/.test(text[same - 1])) same--;
  const rest = text.slice(same);
  const first = /^\s*\S+/u.exec(rest)?.[0] ?? rest;
  return [text.slice(0, same), element("mark", {}, first || "⏹"), rest.slice(first.length)];
}

function told(problem, cell) {
  const answer = samples.answers[problem][cell];
  const facts = [];
  if (answer === baseOf(problem, cell)) facts.push("baseline");
  else if (answer.at) facts.push(`diverges at output token ${answer.at[0].toLocaleString("en")}${answer.at[1] === null ? "" : `, baseline logprob gap ${format(answer.at[1], "1")}`}`);
  else if (diverges(problem, cell)) facts.push("different text");
  else if (baseOf(problem, cell)) facts.push(samples.cells[cell].comparable ? "same as the baseline" : "same text as the baseline");
  if (answer.score !== null) facts.push(answer.score === 1 ? "right" : answer.score === 0 ? "wrong" : `score ${format(answer.score, "1")}`);
  if (answer.extracted !== null) facts.push(`answer read: ${answer.extracted}`);
  facts.push(counted(answer.tokens, "token"));
  if (answer.ttft_s !== null) facts.push(`TTFT ${format(answer.ttft_s, "s")}`);
  if (answer.decode_tokens_per_s !== null) facts.push(format(answer.decode_tokens_per_s, "tokens/s"));
  if (answer.duration_s !== null) facts.push(format(answer.duration_s, "s"));
  if (answer.finish !== null) facts.push(`ended: ${answer.finish}`);
  if (answer.outputs > 1) facts.push(`${answer.outputs} different outputs over the rounds`);
  if (answer.reason) facts.push(`failed: ${answer.reason}${answer.code ? ` [${answer.code}]` : ""}`);
  return facts;
}

sampleForm.addEventListener("input", listProblems);
sampleForm.addEventListener("submit", (event) => event.preventDefault());
more.addEventListener("click", listMore);
whenFiltered.push(listProblems);

if (filters) applyFilters();
else whenFiltered.forEach((follow) => follow());

unpack("sample-data").then(
  (unpacked) => {
    samples = { ...unpacked, answers: byProblem(unpacked) };
    document.getElementById("samples").hidden = document.getElementById("to-samples").hidden = !samples.problems.length;
    listProblems();
  },
  () => {
    document.getElementById("samples").hidden = false;
    list.replaceChildren("This browser cannot unpack the samples; one from 2023 or later can.");
  },
);
