// Lets the reader look at the password he typed. The buttons are hidden in the page until this module runs, since without it
// they would do nothing.

for (const button of document.querySelectorAll("button[data-reveal]")) {
  const input = document.getElementById(button.dataset.reveal);
  if (!input) continue;

  const show = (visible) => {
    input.type = visible ? "text" : "password";
    button.setAttribute("aria-pressed", String(visible));
  };

  button.hidden = false;
  button.addEventListener("click", () => {
    show(input.type === "password");
    input.focus();
  });
  // Password stores recognise the field by its type, and nobody should read it over the shoulder while the page loads.
  input.form?.addEventListener("submit", () => show(false));
}
