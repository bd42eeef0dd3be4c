// Runs before the first paint, so that a chosen light or dark theme does not flash. A file, because the page allows
// no inline script.
try {
  const theme = localStorage.getItem('omniserve.theme')
  if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme
} catch {
  // Storage may be blocked; the system's theme is used then.
}
