// One answer of a chat: its token is fetched from your own server, which knows who is logged in.
import { useEffect, useState } from "react";
import { FeedbackButtons } from "./FeedbackButtons";

export function Answer({ id, text }: { id: string; text: string }) {
  const [given, setGiven] = useState<{ id: string; token: string } | null>(null);
  const [expired, setExpired] = useState(0);

  useEffect(() => {
    let shown = true;
    fetch(`/api/feedback-token?answer=${encodeURIComponent(id)}`, { method: "POST" })
      .then((reply) => (reply.ok ? reply.json() : Promise.reject(new Error(`status ${reply.status}`))))
      .then(({ token }) => shown && setGiven({ id, token }))
      .catch(console.error);
    return () => {
      shown = false;
    };
  }, [id, expired]);

  return (
    <article>
      <p>{text}</p>
      <FeedbackButtons
        token={given?.id === id ? given.token : null} // the token of the answer before would vote on that one
        gateway="https://feedback.example"
        reasons={{ incorrect: "Not correct", incomplete: "Incomplete", other: "Something else" }}
        comment
        onFailed={({ status }) => status === 401 && setExpired((times) => times + 1)}
      />
    </article>
  );
}
