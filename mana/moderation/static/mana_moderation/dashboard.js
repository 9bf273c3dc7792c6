// Keeps the numbers of the dashboard current while the page is looked at.
const PERIOD = 5000; // ms
const page = document.getElementById("mana-dashboard");

function shown(name, number) {
  if (name !== "attachment_bytes") return number.toLocaleString("en");
  const units = ["bytes", "KB", "MB", "GB", "TB"];
  let size = number;
  let unit = 0;
  while (size >= 1024 && unit < units.length - 1) {
    size /= 1024;
    unit += 1;
  }
  return `${unit ? size.toFixed(1) : size} ${units[unit]}`;
}

async function refresh() {
  if (document.hidden) return;
  const response = await fetch(page.dataset.url, { credentials: "same-origin" });
  if (!response.ok) return;
  const numbers = await response.json();
  for (const field of page.querySelectorAll("[data-number]")) {
    field.textContent = shown(field.dataset.number, numbers[field.dataset.number]);
  }
  const reports = page.querySelector("[data-number=open_reports]").closest(".mana-card");
  reports.classList.toggle("mana-attention", numbers.open_reports > 0);
}

setInterval(() => refresh().catch(() => {}), PERIOD);
