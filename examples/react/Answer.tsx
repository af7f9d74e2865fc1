// One answer of a chat: its token is fetched from your own server, which knows who is logged in.
import { useEffect, useState } from "react";
import { FeedbackButtons } from "./FeedbackButtons";

export function Answer({ id, text }: { id: string; text: string }) {
  const [token, setToken] = useState<string | null>(null);
  const [expired, setExpired] = useState(0);

  useEffect(() => {
    let shown = true;
    fetch(`/api/feedback-token?answer=${encodeURIComponent(id)}`, { method: "POST" })
      .then((reply) => (reply.ok ? reply.json() : Promise.reject(new Error(`status ${reply.status}`))))
      .then(({ token }) => shown && setToken(token))
      .catch(console.error);
    return () => {
      shown = false;
    };
  }, [id, expired]);

  return (
    <article>
      <p>{text}</p>
      <FeedbackButtons
        token={token}
        gateway="https://feedback.example"
        reasons={{ incorrect: "Not correct", incomplete: "Incomplete", other: "Something else" }}
        comment
        onFailed={({ status }) => status === 401 && setExpired((times) => times + 1)}
      />
    </article>
  );
}
