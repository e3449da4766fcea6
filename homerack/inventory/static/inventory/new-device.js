// The form that adds devices: suggest the models of the brand, and fill in what the catalogue knows of the chosen one.
"use strict";

(() => {
  const field = (name) => document.getElementById(`id_${name}`);
  let models = [];
  let asked = "";
  let filled = {};

  const suggest = async () => {
    const brand = field("brand").value.trim();
    if (brand === asked) return;
    asked = brand;
    const answer = brand && (await fetch(`../models-of-brand/?brand=${encodeURIComponent(brand)}`));
    if (brand !== asked) return; // another one was typed meanwhile
    models = answer && answer.ok ? (await answer.json()).models : [];
    field("product_suggestions").replaceChildren(...models.map(({ name }) => new Option("", name)));
    fillIn();
  };

  // The type and the height of a known model; what the user has typed for a new one stays.
  const fillIn = () => {
    const text = field("product").value.trim().toLowerCase();
    const known = models.find(({ name }) => name.toLowerCase() === text);
    for (const [name, value] of [["device_type", known?.type ?? ""], ["height_u", known?.height ?? ""]]) {
      if (!known && field(name).value !== filled[name]) continue;
      filled[name] = field(name).value = String(value);
    }
    if (!known) filled = {};
  };

  addEventListener("DOMContentLoaded", () => {
    if (!field("product")) return;
    field("brand").addEventListener("change", suggest);
    field("product").addEventListener("focus", suggest);
    field("product").addEventListener("change", fillIn);
    suggest();
  });
})();
