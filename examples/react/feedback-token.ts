// POST /api/feedback-token?answer=ID on your server (a route of Next.js or anything else with web requests).
// THUMBSTREAM_API_KEY has the right `tokens` and never leaves this file: it is no NEXT_PUBLIC_ or VITE_ variable.
declare const process: { env: Record<string, string | undefined> };
declare function userOf(request: Request): Promise<{ id: string; maySee(answer: string): Promise<boolean> } | null>;

export async function POST(request: Request): Promise<Response> {
  const answer = new URL(request.url).searchParams.get("answer");
  const user = await userOf(request); // your own session
  if (!answer || !user || !(await user.maySee(answer))) return Response.json({ error: "not yours" }, { status: 403 });

  const reply = await fetch(`${process.env.FEEDBACK_GATEWAY}/v1/feedback-tokens`, {
    method: "POST",
    headers: { Authorization: `Bearer ${process.env.THUMBSTREAM_API_KEY}`, "Content-Type": "application/json" },
    body: JSON.stringify({ request_id: answer, user_id: user.id, origins: ["https://chat.example"] }),
  });
  if (!reply.ok) return Response.json({ error: "no token" }, { status: 502 });
  const { token } = (await reply.json()) as { token: string };
  return Response.json({ token }, { headers: { "Cache-Control": "no-store" } });
}
