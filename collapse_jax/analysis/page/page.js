for (const film of document.querySelectorAll(".film")) {
  const labels = JSON.parse(film.dataset.labels), slider = film.querySelector("input");
  const show = () => {  // the strip of frames moves behind a window of one frame
    film.querySelector("img").style.transform = `translateY(${-100 * slider.value / labels.length}%)`;
    film.querySelector("output").textContent = labels[slider.value];
  };
  slider.addEventListener("input", show);
  film.hidden = false;
  show();
}
for (const controls of document.querySelectorAll(".controls")) {
  const table = document.getElementById(controls.dataset.table), body = table.tBodies[0], rows = [...body.rows];
  const [verdict, words] = [controls.querySelector("select"), controls.querySelector("input")];
  const filter = () => {
    for (const row of rows)
      row.hidden = (verdict.value && row.dataset.verdict !== verdict.value)
        || !row.textContent.toLowerCase().includes(words.value.trim().toLowerCase());
    const left = rows.filter((row) => !row.hidden).length;
    controls.querySelector("output").textContent = left < rows.length ? `${left} of ${rows.length} claims` : "";
  };
  const key = (row, column) => row.cells[column].dataset.key ?? row.cells[column].textContent.trim();
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending", sign = down ? -1 : 1;
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const ordered = rows.map((row) => [key(row, column), row]).sort(([a], [b]) => {
        if (a === "" || b === "") return (a === "") - (b === "");  // what has no number comes last
        const apart = Number(a) - Number(b);
        return sign * (Number.isNaN(apart) ? a.localeCompare(b) : apart);
      });
      body.append(...ordered.map(([, row]) => row));
    });
  });
  verdict.addEventListener("change", filter);
  words.addEventListener("input", filter);
  controls.hidden = false;
}
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((one) => { one.open = true; }));
