// The X/Y grid updates as soon as another axis, score or colour is chosen.

import "/static/gallery-picks.js";

const form = document.getElementById("axes");
form.addEventListener("change", () => form.requestSubmit());
form.addEventListener("formdata", ({ formData }) => {
  for (const [name, value] of [...formData]) if (value === "") formData.delete(name);
});
