"""Problems with a known answer, small enough for seconds on a CPU.

Worlds share a few verbs. A world has those that make sense in it, as functions of its module or as
methods of its class:

- `drawn`: a world, or a thing in it, by chance; `prompts`: what is asked.
- `reference`: what the policy is before it learns, as log-probabilities or as a writer of text.
- `gold`: the true reward, in log-odds.
- `better` (tables) or `prob_first` (texts): how often the first of two is preferred, exactly.
- `preferences` (`some_pairs`, `judged`, `pairs` and `preferred` where results stand on older names):
  labels as people gave them, noise included.
- `scores` and `fit`: what a loss sees, and what it finds.

| world          | what is in it                  | what is known                              | verbs |
|----------------|--------------------------------|--------------------------------------------|-------|
| `tabular`      | prompts with some responses    | every probability; the optimum at any beta | drawn, reference, gold, better, some_pairs, scores, fit |
| `crowd`        | responses that share features  | the same; how one response moves others    | drawn, policy, fit |
| `linear`       | vectors and a taste            | the taste; which labels are wrong          | drawn, gold, judged, fit |
| `domains`      | a stream of linear tastes      | the angle between any two                  | drawn, stream, accuracy |
| `trees`        | responses token by token       | the value of every beginning               | drawn, steps, gains |
| `captioned`    | clouds with captions           | every error of their denoiser              | base, scores, follows, distance |
| `graded`       | lists, ranked and rated        | the odds of every order, rating and tie    | drawn, gold, better, ranked, ratings, fit |
| `sentences`    | all sentences of a few words   | every probability, token by token          | drawn, reference, pairs, scores, fit |
| `games`        | preferences without a reward   | the equilibrium under a KL penalty         | drawn, reference, better |
| `labelled`     | points with wrong labels       | the class of each, and who could tell      | drawn, rows |
| `densities`    | points in the plane            | the tilted density in closed form          | sample, tilted, preferred |
| `sprites`      | tiny pictures with captions    | shape, colour, size and place of each      | drawn, look |
| `words`        | requests and answers in words  | gold, cost and validity of every text      | prompts, reference, gold |
| `annotators`   | people who compare answers     | how often each prefers which               | prob_first, preferences |
| `cycles`       | a crowd that goes in a circle  | the odds, and the best mixture             | prob_first, better, best_mixture |
| `word_domains` | prompts with tastes of their own | the taste of each prompt                 | prompts, gold, prob_first |
| `instructions` | several instructions at once   | which of them an answer meets              | drawn, gold, prob_first |
| `edits`        | answers with one word changed  | the word, and what it costs                | edits, lost |
| `grammar`      | the grammar of the word world  | whether a text belongs to it               | sample, is_grammatical |
| `tiny`         | its tokenizer and network      | that both are untrained                    | tokenizer, language_model |
"""  # noqa: E501
