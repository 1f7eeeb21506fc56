// The token by which runs can be controlled: it comes in the address once, and stays in this tab.

const KEY = "populace-token";

// Take it out of the address, so that it is in no link, no history and no screenshot.
export function take() {
  const asked = new URLSearchParams(location.hash.slice(1)), token = asked.get("token");
  if (!token) return;
  sessionStorage.setItem(KEY, token);
  asked.delete("token");
  history.replaceState(null, "", `#${asked}`);
}

export const held = () => sessionStorage.getItem(KEY);
