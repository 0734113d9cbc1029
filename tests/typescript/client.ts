// Checked against the types that openapi-typescript generates from the OpenAPI document; see .ci/run.

import type { components, operations, paths } from "./api";

type Search = paths["/api/v1/search"]["post"];
type Results = components["schemas"]["SearchResults"];
type Problem = components["schemas"]["Problem"];
type Job = operations["getJob"]["responses"][200]["content"]["application/json"];

const byId: Search["requestBody"]["content"]["application/json"] = { id: "00000000-0000-0000-0000-000000000000", k: 5 };

export async function search(url: string): Promise<Results | Problem> {
  const headers = { "Content-Type": "application/json" };
  const response = await fetch(`${url}/api/v1/search`, { method: "POST", headers, body: JSON.stringify(byId) });
  return response.json();
}

export function bestLabel(found: Results): string | null {
  const guess = found.predicted_label;
  return guess ? `${guess.label} (${guess.votes} of ${guess.of})` : (found.results[0]?.label ?? null);
}

export function isRunning({ state, indexed }: Job): boolean {
  return state === "running" && indexed >= 0;
}

// @ts-expect-error: the number of results is a number
const wrong: typeof byId = { id: "00000000-0000-0000-0000-000000000000", k: "5" };
export { wrong };
