/** What the browser keeps for this page. It may forbid that, and the page works without. */

type Area = "localStorage" | "sessionStorage";

export function recall(area: Area, key: string): string | null {
  try {
    return window[area].getItem(key);
  } catch {
    return null;
  }
}

/** Keep a text; null removes it. */
export function remember(area: Area, key: string, text: string | null): void {
  try {
    if (text === null) window[area].removeItem(key);
    else window[area].setItem(key, text);
  } catch {
    // Settings of the browser forbid it, or there is no room.
  }
}
